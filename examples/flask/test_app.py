"""The app against a hub that FANFARE_BIN names: what its routes answer, and what readers get."""

import json
import os
import queue
import re
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

DEADLINE_S = 10


@pytest.fixture
def hub():
    listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    env = {name: value for name, value in os.environ.items() if name != "FANFARE_BIN"}
    with subprocess.Popen(
        [os.environ["FANFARE_BIN"], "serve", *listen],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:
        found = (re.fullmatch(r" +hub +(http://\S+)\n", line) for line in process.stdout)
        yield next(match[1] for match in found if match)
        process.kill()


@pytest.fixture
def app(hub):
    """The app, served by Flask's own server."""
    flask = [sys.executable, "-m", "flask", "run", "--port", "0"]
    env = {**os.environ, "FANFARE_URL": hub}
    with subprocess.Popen(
        flask, cwd=Path(__file__).parent, env=env, stderr=subprocess.PIPE, text=True
    ) as process:
        found = (re.search(r"Running on (http://\S+)", line) for line in process.stderr)
        url = next(match[1] for match in found if match)
        drain = threading.Thread(target=process.stderr.read, daemon=True)
        drain.start()
        yield url
        process.kill()


class Reader:
    """Reads the app's stream, as a browser would, in a thread of its own."""

    def __init__(self, url, **query):
        self.events = queue.Queue()
        threading.Thread(target=self._read, args=(url, query), daemon=True).start()

    def _read(self, url, query):
        event = {}
        try:
            with httpx.stream(
                "GET", f"{url}/stream", params=query, follow_redirects=True, timeout=DEADLINE_S
            ) as answer:
                for line in answer.iter_lines():
                    name, _, value = line.partition(": ")
                    if line == "" and event:
                        self.events.put(event)
                        event = {}
                    elif name:
                        event[name] = value
        except httpx.HTTPError:
            pass  # the hub was killed at the end of the test

    def next(self):
        return self.events.get(timeout=DEADLINE_S)


def test_the_stream_has_moved(app, hub):
    answer = httpx.get(f"{app}/stream", params={"last": "3"})
    assert answer.status_code == 307
    assert answer.headers["location"] == f"{hub}/channels/flask/messages?last=3"


def test_a_ping_reaches_every_reader(app):
    readers = [Reader(app), Reader(app)]
    for reader in readers:
        assert reader.next()["event"] == "fanfare.open"
    answer = httpx.post(f"{app}/ping")
    assert answer.status_code == 200
    for reader in readers:
        assert reader.next() == {"id": answer.json()["id"], "data": "pong"}


def test_a_job_tells_its_progress_as_it_goes_on(app):
    reader = Reader(app)
    assert reader.next()["event"] == "fanfare.open"
    assert httpx.post(f"{app}/job").status_code == 202
    events = [reader.next() for _ in range(21)]
    assert {event["event"] for event in events} == {"progress"}
    assert [json.loads(event["data"])["percent"] for event in events] == [*range(0, 101, 5)]


def test_a_reader_that_was_away_gets_what_it_missed(app):
    ids = [httpx.post(f"{app}/ping").json()["id"] for _ in range(4)]
    reader = Reader(app, last_event_id=ids[1])
    assert reader.next()["event"] == "fanfare.open"
    assert [reader.next()["id"] for _ in range(2)] == ids[2:]
