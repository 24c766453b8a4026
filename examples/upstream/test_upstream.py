"""The service and the hub of this folder, as its README runs them, on free ports."""

import json
import os
import re
import select
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PATH = "/upstreams/local/v1/chat/completions"
DEADLINE_S = 10


@pytest.fixture
def service():
    with subprocess.Popen(
        [sys.executable, HERE / "upstream.py", "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        process.url = process.stdout.readline().strip()
        yield process
        process.kill()


@pytest.fixture
def hub(service, tmp_path, request):
    toml = (HERE / "fanfare.toml").read_text().replace("http://127.0.0.1:9000", service.url)
    config = tmp_path / "fanfare.toml"
    config.write_text(toml)
    flags = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--config", config]
    with subprocess.Popen(
        [os.environ["FANFARE_BIN"], "serve", *flags],
        env={"LOCAL_API_KEY": getattr(request, "param", "sk-example")},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:
        found = (re.fullmatch(r" +hub +(http://\S+)\n", line) for line in process.stdout)
        yield next(match[1] for match in found if match)
        process.kill()


def post(url, body=b""):
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        return json.load(answer)


def fetch(hub, tokens):
    return post(f"{hub}{PATH}?channel=answers/1", json.dumps({"max_tokens": tokens}).encode())


def read(hub):
    """The data of all events, from the start to the end of the stream."""
    url = f"{hub}/channels/answers/1?from=start&control=off"
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as stream:
        for line in stream:
            if line.startswith(b"data: "):
                yield line[len(b"data: "):].decode().strip()


def text(events):
    chunks = (json.loads(data) for data in events if data != "[DONE]")
    return "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)


def status(hub):
    with urllib.request.urlopen(f"{hub}/status/answers/1", timeout=DEADLINE_S) as answer:
        return json.load(answer)


def test_the_answer_is_kept_for_who_comes_later(hub):
    told = fetch(hub, 20)
    assert told["channel"] == "answers/1"
    assert told["events_url"] == "/channels/answers/1?from=start"
    first, second = list(read(hub)), list(read(hub))
    assert first == second and first[-1] == "[DONE]" and len(first) == 21
    assert text(first).startswith("A hub keeps the answer, ")
    assert status(hub)["reason"] == "done"


def test_stop_reaches_the_service(hub, service):
    fetch(hub, 5000)
    events = read(hub)
    next(events)
    assert post(f"{hub}/cancel/answers/1")["state"] in ("cancelling", "closed")
    assert select.select([service.stdout], [], [], DEADLINE_S)[0], "the service was not told"
    assert service.stdout.readline() == "stopped\n"
    list(events)
    assert status(hub)["reason"] == "cancelled"


@pytest.mark.parametrize("hub", ["sk-wrong"], indirect=True)
def test_a_wrong_key_is_an_error_of_the_channel(hub):
    fetch(hub, 20)
    (event,) = read(hub)
    error = json.loads(event)["error"]
    assert error["code"] == 401 and error["type"] == "upstream_status"
    assert "Incorrect API key provided" in error["message"]
    assert status(hub)["reason"] == "error"
