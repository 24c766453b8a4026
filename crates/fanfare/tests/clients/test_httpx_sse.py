"""httpx-sse, unchanged, against the hub: a widespread client that does not follow the specification
in all things, and which the hub therefore spares (API.md, rule 2 of the wire)."""

import queue
import threading

import httpx
from httpx_sse import connect_sse

from hub import DEADLINE_S, until


class Recording(httpx.HTTPTransport):
    """A transport that keeps the bytes that came, so that a test sees what the client does not."""

    def __init__(self):
        super().__init__()
        self.bytes = b""

    def handle_request(self, request):
        answer = super().handle_request(request)
        answer.stream = self.Stream(self, answer.stream)
        return answer

    class Stream(httpx.SyncByteStream):
        def __init__(self, recording, stream):
            self.recording, self.stream = recording, stream

        def __iter__(self):
            for part in self.stream:
                self.recording.bytes += part
                yield part

        def close(self):
            self.stream.close()


class Subscriber:
    """Reads a subscription in a thread of its own into a queue."""

    def __init__(self, url, last_event_id=None):
        self.recording = Recording()
        self.events = queue.Queue()
        self.headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        self.client = httpx.Client(transport=self.recording, timeout=DEADLINE_S)
        self.thread = threading.Thread(target=self._read, args=(url,), daemon=True)
        self.thread.start()
        assert self.next().event == "fanfare.open"

    def _read(self, url):
        try:
            with connect_sse(self.client, "GET", url, headers=self.headers) as source:
                for event in source.iter_sse():
                    self.events.put(event)
        except httpx.HTTPError:
            pass  # the hub was killed at the end of the test

    def next(self):
        return self.events.get(timeout=DEADLINE_S)

    def take(self, count):
        """The next events, as (id, event, data)."""
        return [(e.id, e.event, e.data) for e in (self.next() for _ in range(count))]


def test_live_events_arrive_in_order(hub):
    subscriber = Subscriber(f"{hub.url}/channels/news")
    texts = ["one", "two\nlines", "käse \u2028 🧀", "", '{"json": true}']
    ids = [hub.publish("news", text.encode(), event="tick") for text in texts]
    assert subscriber.take(len(texts)) == [(id, "tick", text) for id, text in zip(ids, texts)]
    assert subscriber.events.empty()


def test_heartbeats_are_no_events(hub):
    subscriber = Subscriber(f"{hub.url}/channels/news?heartbeat=1")
    first = hub.publish("news", b"first")
    until(
        lambda: subscriber.recording.bytes.partition(b"data: first\n\n")[2].count(b":") >= 2,
        "two heartbeats after an event that has an id",
    )
    second = hub.publish("news", b"second")
    assert subscriber.take(2) == [(first, "message", "first"), (second, "message", "second")]
    assert subscriber.events.empty()


def test_last_event_id_resumes_exactly(hub):
    ids = [hub.publish("news", str(number).encode()) for number in range(10)]
    subscriber = Subscriber(f"{hub.url}/channels/news", last_event_id=ids[3])
    ids.append(hub.publish("news", b"10"))
    expected = [(ids[number], "message", str(number)) for number in range(4, 11)]
    assert subscriber.take(len(expected)) == expected
    assert subscriber.events.empty()


def test_a_closed_channel_ends_the_stream_without_an_error(hub):
    with httpx.Client(timeout=DEADLINE_S) as client:
        with connect_sse(client, "GET", f"{hub.url}/channels/job") as source:
            events = source.iter_sse()
            assert next(events).event == "fanfare.open"
            hub.publish("job", b"result", close="done")
            rest = list(events)
    assert [(event.event, event.data) for event in rest[:1]] == [("message", "result")]
    assert [event.event for event in rest[1:]] == ["fanfare.end"]
    assert 5000 <= rest[1].retry <= 60000
