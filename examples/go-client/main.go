// Follows a channel with go-sse: resumes exactly after a cut, tells of gaps, stops at the end.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/tmaxmax/go-sse"
)

func main() {
	ctx, end := context.WithCancel(context.Background())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, os.Args[1], http.NoBody)
	if err != nil {
		log.Fatal(err)
	}
	connection := sse.NewConnection(request)
	connection.Buffer(nil, 1<<20) // Its own bound is 64 KiB; the hub's, unless set, is 256 KiB.
	connection.SubscribeToAll(func(event sse.Event) {
		if !strings.HasPrefix(event.Type, "fanfare.") {
			fmt.Println(event.Data)
		} else if event.Type == "fanfare.gap" || event.Type == "fanfare.end" {
			log.Println(event.Type, event.Data)
		}
		if event.Type == "fanfare.end" {
			end()
		}
	})
	// It comes back by itself after a cut. A status but 200 is final; 204 says that the channel
	// ended while we were away, and that we had seen all of it.
	if err := connection.Connect(); ctx.Err() == nil && !strings.Contains(err.Error(), "204") {
		log.Fatal(err)
	}
}
