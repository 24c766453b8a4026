"""A service that speaks OpenAI's chunks at 50 tokens a second, to be fetched by a hub."""

import itertools
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORDS = "A hub keeps the answer, so whoever reloads reads it from the start. ".split(" ")


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != "Bearer sk-example":
            return self.refuse(401, "Incorrect API key provided")
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for word in itertools.islice(itertools.cycle(WORDS), asked.get("max_tokens", 500)):
                delta = {"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}
                self.event({"object": "chat.completion.chunk", "choices": [delta]})
                time.sleep(1 / 50)
            self.chunk("data: [DONE]\n\n")
            self.chunk("")
        except (BrokenPipeError, ConnectionResetError):
            print("stopped", flush=True)

    def event(self, data):
        self.chunk(f"data: {json.dumps(data)}\n\n")

    def chunk(self, text):
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def refuse(self, status, message):
        body = json.dumps({"error": {"message": message}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    with ThreadingHTTPServer(("127.0.0.1", port), Service) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
