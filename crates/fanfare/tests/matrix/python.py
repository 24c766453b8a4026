"""The Python clients of the table. A line of standard input, `NUMBER<tab>CLIENT<tab>URL`,
subscribes; a line of JSON on standard output says what the subscription's program is told."""

import asyncio
import json
import sys
import threading
import time

import anthropic
import httpx
import openai
import requests
from aiohttp_sse_client.client import EventSource
from httpx_sse import connect_sse
from sseclient import SSEClient

# How long a program waits until it subscribes again by hand.
WAIT_S = 0.2

LOCK = threading.Lock()


class Subscription:
    def __init__(self, at, url):
        self.at, self.url, self.last_event_id, self.seen = at, url, "", 0

    def say(self, **what):
        with LOCK:
            print(json.dumps({"at": self.at} | what), flush=True)

    def event(self, type, data, id):
        self.last_event_id = id or self.last_event_id
        self.say(type=type, data=data, id=id)


def with_httpx_sse(client, subscription):
    headers = {"Last-Event-ID": subscription.last_event_id}
    with connect_sse(client, "GET", subscription.url, headers=headers) as source:
        if source.response.status_code == 204:
            return "204"
        for event in source.iter_sse():
            subscription.event(event.event, event.data, event.id)


def with_sseclient_py(session, subscription):
    headers = {"Last-Event-ID": subscription.last_event_id}
    with session.get(subscription.url, headers=headers, stream=True) as answer:
        if answer.status_code == 204:
            return "204"
        for event in SSEClient(answer).events():
            subscription.event(event.event, event.data, event.id)


def with_an_sdk(client, subscription):
    """They show no ids: a program reads the channel from its start and skips what it has seen. They
    ask for JSON unless told otherwise, which the hub would take for a request of the history."""
    stream = client.get(
        subscription.url, cast_to=object, stream=True, stream_cls=type(client).Streams[object],
        options={"headers": {"Accept": "text/event-stream"}})
    for at, data in enumerate(stream):
        if at >= subscription.seen:
            subscription.seen += 1
            subscription.event(None, json.dumps(data), None)
    return "the stream ends"


def with_aiohttp_sse_client(_, subscription):
    async def read():
        headers = {"Last-Event-ID": subscription.last_event_id}
        try:
            async with EventSource(subscription.url, headers=headers) as events:
                async for event in events:
                    subscription.event(event.type or "message", event.data, event.last_event_id)
        except ConnectionAbortedError as error:
            return str(error)
    return asyncio.run(read())


class OpenAi(openai.OpenAI):
    Streams = openai.Stream


class Anthropic(anthropic.Anthropic):
    Streams = anthropic.Stream


SDK = {"base_url": "http://127.0.0.1", "api_key": "none", "max_retries": 0}
CLIENTS = {
    "httpx-sse": (lambda: httpx.Client(timeout=30), with_httpx_sse),
    "sseclient-py": (requests.Session, with_sseclient_py),
    "openai": (lambda: OpenAi(**SDK), with_an_sdk),
    "anthropic": (lambda: Anthropic(**SDK), with_an_sdk),
    "aiohttp-sse-client": (lambda: None, with_aiohttp_sse_client),
}


def follow(at, name, url):
    """Reads until the client says that it is over, again and again."""
    subscription = Subscription(at, url)
    make, read = CLIENTS[name]
    client = make()
    while True:
        try:
            over = read(client, subscription)
        except Exception as error:
            over, why = None, f"{type(error).__name__}: {error}"
        else:
            why = "the stream ends"
        if over:
            subscription.say(over=over)
            return
        subscription.say(again=why)
        time.sleep(WAIT_S)


print('{"ready": true}', flush=True)
for line in sys.stdin:
    threading.Thread(target=follow, args=line.rstrip("\n").split("\t"), daemon=True).start()
