"""A stream of tokens that was relayed through a channel, read by the clients of OpenAI and
Anthropic, unchanged but for the transport that asks the hub: as they read the original."""

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic
import httpx
import httpx2
import openai
import pytest

import recorded
from hub import DEADLINE_S, until


class Api:
    """An API: what it sends, and how its client reads that from a base URL."""

    def __init__(self, path, events, read):
        self.path, self.events, self.read = path, list(events), read


def read_chat(base_url, transport=None):
    return openai_client(base_url, transport).chat.completions.create(
        model="gpt-5", messages=[{"role": "user", "content": "Hello?"}], stream=True)


def read_responses(base_url, transport=None):
    return openai_client(base_url, transport).responses.create(
        model="gpt-5", input="Hello?", stream=True)


def read_messages(base_url, transport=None):
    client = anthropic.Anthropic(
        base_url=base_url, api_key="none", max_retries=0, http_client=http_client(transport))
    messages = [{"role": "user", "content": "Hello?"}]
    return client.messages.create(
        model="claude-opus-4-8", max_tokens=100, messages=messages, stream=True)


def openai_client(base_url, transport):
    return openai.OpenAI(
        base_url=base_url, api_key="none", max_retries=0, http_client=http_client(transport))


def http_client(transport):
    return httpx2.Client(transport=transport, timeout=DEADLINE_S)


APIS = {
    "chat": Api("/chat/completions", recorded.openai_chat(), read_chat),
    "responses": Api("/responses", recorded.openai_responses(), read_responses),
    "messages": Api("/v1/messages", recorded.anthropic_messages(), read_messages),
}


class Subscribing(httpx2.HTTPTransport):
    """What an application gives such a client to read a channel: whatever it posts, it gets the
    channel. Keeps the bytes that came, so that a test sees what the client does not."""

    def __init__(self, channel_url, alter=None):
        super().__init__()
        self.url = f"{channel_url}?from=start&control=off&heartbeat=1"
        self.alter = alter or (lambda parts: parts)
        self.bytes = b""

    def handle_request(self, request):
        answer = super().handle_request(httpx2.Request("GET", self.url))
        answer.stream = self.Stream(self, answer.stream)
        return answer

    class Stream(httpx2.SyncByteStream):
        def __init__(self, transport, stream):
            self.transport, self.stream = transport, stream

        def __iter__(self):
            for part in self.transport.alter(self.stream):
                self.transport.bytes += part
                yield part

        def close(self):
            self.stream.close()


class Upstream:
    """The APIs on a port of this machine: they send what is recorded, some at a time."""

    def __init__(self):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                api = next(api for api in APIS.values() if api.path == self.path)
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream; charset=utf-8")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                body = b"".join(api.events)
                for at in range(0, len(body), 700):
                    part = body[at:at + 700]
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def upstream():
    upstream = Upstream()
    yield upstream
    upstream.server.shutdown()
    upstream.server.server_close()


def chunks(stream):
    """What the client made of a stream."""
    return [chunk.model_dump() for chunk in stream]


def relay_with_curl(source, channel):
    """The two curls that are a relay."""
    fetch = subprocess.Popen(["curl", "-sN", "-d", "{}", source], stdout=subprocess.PIPE)
    publish = ["curl", "-sf", "-X", "POST", "-H", "Content-Type: text/event-stream", "-T", "-"]
    answer = subprocess.run(
        [*publish, f"{channel}?close=on-end"], stdin=fetch.stdout, capture_output=True, check=True,
        timeout=DEADLINE_S)
    assert fetch.wait() == 0
    return json.loads(answer.stdout)


def relay_with_python(source, channel):
    """A relay as a program would have it."""
    with httpx.stream("POST", source, json={}) as original:
        headers = {"Content-Type": original.headers["Content-Type"]}
        params = {"close": "on-end"}
        body = original.iter_raw()
        answer = httpx.post(channel, params=params, headers=headers, content=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("relay", [relay_with_curl, relay_with_python])
@pytest.mark.parametrize("api", APIS.values(), ids=APIS)
def test_a_relayed_stream_is_read_as_the_original(hub, upstream, api, relay):
    original = chunks(api.read(upstream.url))
    assert len(original) > len(recorded.TEXTS)

    channel = f"{hub.url}/channels/answer"
    while_live = []
    live = threading.Thread(
        target=lambda: while_live.extend(chunks(api.read(upstream.url, Subscribing(channel)))))
    live.start()
    summary = relay(f"{upstream.url}{api.path}", channel)
    assert summary["accepted"] == len(api.events)
    live.join(DEADLINE_S)
    assert while_live == original
    assert chunks(api.read(upstream.url, Subscribing(channel))) == original


def with_between_events(inserted):
    """A stream with some bytes at its start and after each event, cut into small parts."""
    def alter(parts):
        body = inserted + b"".join(parts).replace(b"\n\n", b"\n\n" + inserted)
        return (body[at:at + 7] for at in range(0, len(body), 7))
    return alter


@pytest.mark.parametrize("api", APIS.values(), ids=APIS)
def test_heartbeats_between_any_two_events_change_nothing(hub, upstream, api):
    original = chunks(api.read(upstream.url))
    channel = f"{hub.url}/channels/answer"
    relay_with_python(f"{upstream.url}{api.path}", channel)
    for count in (1, 3):
        transport = Subscribing(channel, with_between_events(b":\n" * count))
        assert chunks(api.read(upstream.url, transport)) == original
        assert transport.bytes.count(b"\n\n:\n") >= len(original)


def test_a_heartbeat_with_an_empty_line_would_be_an_event(hub, upstream):
    """Why the hub's is two bytes: the same place, the usual form, and the client falls."""
    channel = f"{hub.url}/channels/answer"
    relay_with_python(f"{upstream.url}/chat/completions", channel)
    transport = Subscribing(channel, with_between_events(b": ping\n\n"))
    with pytest.raises(json.JSONDecodeError):
        chunks(read_chat(upstream.url, transport))


def test_the_hubs_own_heartbeats_change_nothing(hub, upstream):
    """All three clients at once: before each event every one of them has got a heartbeat."""
    readers = []
    for name, api in APIS.items():
        events = api.events[:3] + api.events[-2:]
        channel = f"{hub.url}/channels/{name}"
        transport, got = Subscribing(channel), []
        thread = threading.Thread(
            target=lambda *of: of[2].extend(chunks(of[0].read(upstream.url, of[1]))),
            args=(api, transport, got))
        thread.start()
        readers.append((name, events, transport, got, thread))
    for at in range(5):
        for name, events, transport, _, _ in readers:
            until(lambda: transport.bytes.endswith(b"\n:\n" if at else b":\n"), "a heartbeat")
            last = {"close": "done"} if at == 4 else {}
            answer = httpx.post(
                f"{hub.url}/channels/{name}", content=events[at], params=last,
                headers={"Content-Type": "text/event-stream"})
            assert answer.json()["accepted"] == 1
            if not last:
                until(lambda: transport.bytes.count(b"data: ") == at + 1, "the event")
    for name, events, transport, got, thread in readers:
        thread.join(DEADLINE_S)
        replayed = chunks(APIS[name].read(upstream.url, Subscribing(f"{hub.url}/channels/{name}")))
        is_event = lambda event: b"[DONE]" not in event and b'"ping"' not in event
        assert len(got) == len([event for event in events if is_event(event)])
        assert got == replayed
        assert transport.bytes.count(b"\n\n:\n") >= 4
