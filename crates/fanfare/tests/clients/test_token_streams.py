"""What docs/token-streams.md says to copy does what it says there."""

import json
import os
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from hub import DEADLINE_S

PAGE = Path(__file__).parents[4] / "docs/token-streams.md"
# Nothing listens on the first of all ports.
NOBODY = "http://127.0.0.1:1/"


def snippet(language, word):
    """The only one in this language with this word."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    [one] = [text for text in found if word in text]
    return one


def status(hub, channel):
    return httpx.get(f"{hub.url}/status/{channel}").json()


class Client:
    """As much of OpenAI's client as is asked for."""

    def __init__(self, texts):
        self.texts = texts
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self.create))

    def create(self, *_, stream):
        for text in self.texts:
            yield SimpleNamespace(model_dump_json=lambda: json.dumps({"text": text}))


def test_the_producer_in_python(hub):
    names = {"client": Client(["Hel", "lo"]), "channel": "chat/42", "HUB": hub.url}
    exec(snippet("python", "httpx"), {**names, "httpx": httpx, "json": json})
    told = status(hub, "chat/42")
    assert (told["state"], told["reason"]) == ("closed", "done")
    headers = {"accept": "application/json"}
    events = httpx.get(f"{hub.url}/channels/chat/42", headers=headers).json()["events"]
    assert [json.loads(event["data"])["text"] for event in events] == ["Hel", "lo"]


class Handler(BaseHTTPRequestHandler):
    """An upstream: `/whole`, `/cut` in its second event, or a refusal."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/refused":
            return self.send_error(401)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        part = b"data: 1\n\ndata: 2\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        if self.path == "/whole":
            self.wfile.write(b"1\r\n\n\r\n0\r\n\r\n")
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def upstream():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(("path", "state", "reason", "events"), [
    ("/whole", "closed", "done", 2),
    ("/cut", "open", None, 1),
    ("/refused", "open", None, 0),
    (None, "open", None, 0),
])
def test_the_relay_ends_as_the_upstream_does(
        hub, upstream, tmp_path, path, state, reason, events):
    (tmp_path / "fanfare").symlink_to(os.environ["FANFARE_BIN"])
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "FANFARE_URL": hub.url}
    env["UPSTREAM"] = upstream + path if path else NOBODY
    line = snippet("console", "--sse").removeprefix("$ ")
    relayed = subprocess.run(["sh", "-c", line], env=env, timeout=DEADLINE_S)
    assert (relayed.returncode == 0) == (state == "closed")
    told = status(hub, "chat/42")
    assert (told["state"], told["reason"], told["events"]) == (state, reason, events)
