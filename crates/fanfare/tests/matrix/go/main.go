// The Go clients of the table. A line of standard input, `NUMBER<tab>CLIENT<tab>URL`, subscribes; a
// line of JSON on standard output says what the subscription's program is told.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	r3labs "github.com/r3labs/sse/v2"
	tmaxmax "github.com/tmaxmax/go-sse"
)

// How long a program waits until it subscribes again by hand.
const wait = 200 * time.Millisecond

type told map[string]any

func main() {
	var output sync.Mutex
	fmt.Println(`{"ready": true}`)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		command := strings.Split(lines.Text(), "\t")
		say := func(what told) {
			what["at"] = command[0]
			line, _ := json.Marshal(what)
			output.Lock()
			defer output.Unlock()
			fmt.Println(string(line))
		}
		switch command[1] {
		case "r3labs/sse":
			go withR3labs(command[2], say)
		case "tmaxmax/go-sse":
			go withTmaxmax(command[2], say)
		}
	}
}

func withR3labs(url string, say func(told)) {
	client := r3labs.NewClient(url)
	for {
		err := client.SubscribeRaw(func(event *r3labs.Event) {
			kind := string(event.Event)
			if kind == "" {
				kind = "message"
			}
			say(told{"type": kind, "data": string(event.Data), "id": string(event.ID)})
		})
		say(told{"again": fmt.Sprint("Subscribe returns ", err)})
		time.Sleep(wait)
	}
}

func withTmaxmax(url string, say func(told)) {
	request, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		panic(err)
	}
	connection := tmaxmax.NewConnection(request)
	connection.SubscribeToAll(func(event tmaxmax.Event) {
		kind := event.Type
		if kind == "" {
			kind = "message"
		}
		say(told{"type": kind, "data": event.Data, "id": event.LastEventID})
	})
	say(told{"over": connection.Connect().Error()})
}
