"""Follows a channel with httpx-sse: resumes after a cut, tells of gaps, stops at the end."""

import random
import sys
import time

import httpx
from httpx_sse import connect_sse

SILENCE_S = 40  # The hub sends a heartbeat every 15 s: a connection so silent is dead.


def follow(url, last_event_id="", wait_s=1.0):
    with httpx.Client(timeout=httpx.Timeout(10, read=SILENCE_S)) as client:
        while True:
            try:
                headers = {"Last-Event-ID": last_event_id}
                with connect_sse(client, "GET", url, headers=headers) as source:
                    if source.response.status_code == 204:
                        return  # The channel has ended and we have seen all of it.
                    if source.response.is_client_error:
                        source.response.raise_for_status()
                    for event in source.iter_sse():
                        last_event_id = event.id
                        wait_s = wait_s if event.retry is None else event.retry / 1000
                        yield event
                        if event.event == "fanfare.end":
                            return
            except httpx.TransportError:
                pass  # It was cut, or a proxy answered for the hub: come back.
            time.sleep(wait_s * random.uniform(0.5, 1))


for event in follow(sys.argv[1]):
    if not event.event.startswith("fanfare."):
        print(event.data, flush=True)
    elif event.event in ("fanfare.gap", "fanfare.end"):
        print(event.event, event.data, file=sys.stderr)
