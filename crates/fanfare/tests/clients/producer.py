"""A producer that may be killed at any moment and started again. It streams the tokens of a
generator to a channel, and leaves it to the hub to know how far it came: nothing is on disk.

Run as `producer.py ADDRESS CHANNEL WAY TOKENS SEED [CUT]`. WAY says how it takes up its work:

- `fence`: each life begins a newer epoch, which cuts off whatever earlier lives still have on the
  way, then asks how many tokens there are and goes on behind them.
- `resume`: all lives have one epoch; it asks for the newest `seq` and goes on behind it.
- `replay`: it asks nothing and sends everything again; the hub passes over what it has.

It says `TOKEN sent` on a line of its output for each token. CUT, as `7:12`, makes it kill itself
12 bytes into the line of its 7th token. It exits with 0 when the channel is closed with all tokens
in it, and with 3 when a newer life has fenced it.
"""

import hashlib
import json
import os
import signal
import socket
import sys
import time

WORDS = ["fan", "käse", "🧀", "\n", "two\nlines", " ", "\"quoted\" ", "\\", "", "long " * 99]
FENCED = 3
# What a generator takes for a token; without it all would be sent before anybody can kill it.
PACE_S = 0.001


def token(seed, at):
    """The token at a place: the same in each life."""
    digest = hashlib.sha256(f"{seed}/{at}".encode()).digest()
    return f"{at}:{WORDS[digest[0] % len(WORDS)]}{digest[1:3].hex()}"


class Http:
    """As much of HTTP/1.1 as this needs."""

    def __init__(self, address, head):
        self.socket = socket.create_connection(address, timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall("\r\n".join([*head, "Host: localhost", "", ""]).encode())
        self.answer = self.socket.makefile("rb")

    def head(self):
        """The status and the headers of the answer."""
        status = int(self.answer.readline().split()[1])
        headers = {}
        while line := self.answer.readline().strip():
            name, value = line.decode().split(": ", 1)
            headers[name.lower()] = value
        return status, headers

    def body(self, headers):
        """The whole body."""
        if headers.get("transfer-encoding") != "chunked":
            return self.answer.read(int(headers.get("content-length", 0)))
        whole = b""
        while length := int(self.answer.readline(), 16):
            whole += self.answer.read(length)
            self.answer.readline()
        return whole


def status(address, channel, producer):
    """What the hub knows of a channel; None if it knows nothing."""
    asking = Http(address, [f"GET /status/{channel}?producer={producer} HTTP/1.1"])
    status, headers = asking.head()
    body = json.loads(asking.body(headers))
    assert status in (200, 404), body
    return body if status == 200 else None


def give_up(address, channel, problem):
    """Ends the process because of a problem, unless that says that all is done."""
    if problem["type"] == "/problems/channel-closed":
        finished(address, channel)
    print(problem["type"], flush=True)
    sys.exit(FENCED if problem["type"] == "/problems/producer-fenced" else 1)


def finished(address, channel):
    """Ends the process if all tokens are there, which an earlier life may have seen to."""
    known = status(address, channel, "p")
    if known and known["state"] == "closed":
        sys.exit(0 if known["reason"] == "done" else f"closed with {known['reason']}")
    return known and known["producer"]


def produce(address, channel, way, tokens, seed, cut):
    # Of two lives the later one has the greater epoch, whatever became of the earlier one.
    epoch = time.time_ns() // 1_000 if way == "fence" else 0
    known = finished(address, channel) if way == "resume" else None
    begin = known["seq"] + 1 if known and known["seq"] is not None else 0
    stream = Http(address, [
        f"POST /channels/{channel}?close=on-end&acks=stream HTTP/1.1",
        "Content-Type: application/x-ndjson", "Transfer-Encoding: chunked",
        "Producer-Id: p", f"Producer-Epoch: {epoch}", f"Producer-Seq: {begin}",
    ])
    status, headers = stream.head()
    if status != 200:
        problem = json.loads(stream.body(headers))
        give_up(address, channel, problem)
    if way == "fence":
        # From here on nothing of an earlier life can come in.
        begin = finished(address, channel)["events"]
    try:
        for at in range(begin, tokens):
            line = json.dumps({"data": token(seed, at)}).encode() + b"\n"
            chunk = b"%x\r\n%s\r\n" % (len(line), line)
            if cut and at == cut[0]:
                stream.socket.sendall(chunk[:cut[1]])
                os.kill(os.getpid(), signal.SIGKILL)
            stream.socket.sendall(chunk)
            time.sleep(PACE_S)
            print(at, "sent", flush=True)
        stream.socket.sendall(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass  # The hub has said why before.
    acks = [json.loads(line) for line in stream.body(headers).splitlines()]
    if acks and "type" in acks[-1]:
        give_up(address, channel, acks[-1])
    first = 0 if way == "fence" else begin
    assert [ack["seq"] for ack in acks] == list(range(first, first + tokens - begin)), acks


if __name__ == "__main__":
    host, port = sys.argv[1].split(":")
    cut = [int(part) for part in sys.argv[6].split(":")] if len(sys.argv) > 6 else None
    channel, way, tokens, seed = sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
    produce((host, int(port)), channel, way, tokens, seed, cut)
