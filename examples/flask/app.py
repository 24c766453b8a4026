"""The Flask app of the old tutorials about Server-Sent Events, publishing to a hub. Where it had a
queue and a thread for each reader there is a POST, and its stream has moved."""

import json
import os
import threading
import time

import httpx
import requests
from flask import Flask, redirect, render_template, request

HUB = os.environ.get("FANFARE_URL", "http://127.0.0.1:8080")
# The hub as browsers reach it, if that is another URL.
PUBLIC_HUB = os.environ.get("FANFARE_PUBLIC_URL", HUB)
CHANNEL = "/channels/flask/messages"

app = Flask(__name__)


@app.get("/")
def index():
    return render_template("index.html")


@app.get("/stream")
def stream():
    # Not permanent, so that no browser remembers it and the stream can move again.
    query = request.query_string.decode()
    return redirect(f"{PUBLIC_HUB}{CHANNEL}?{query}", code=307)


@app.post("/ping")
def ping():
    return {"id": announce("pong")}


@app.post("/job")
def job():
    threading.Thread(target=run_job).start()
    return "", 202


def announce(data, event=None):
    """Publishes one event, and returns its id."""
    query = {"event": event}
    answer = requests.post(HUB + CHANNEL, data=data.encode(), params=query, timeout=5)
    answer.raise_for_status()
    return answer.json()["id"]


def run_job():
    """Publishes many events in one request, each as it is there."""
    headers = {"Content-Type": "application/x-ndjson"}
    httpx.post(HUB + CHANNEL, content=progress(), headers=headers).raise_for_status()


def progress():
    for percent in range(0, 101, 5):
        line = {"event": "progress", "data": {"percent": percent}}
        yield json.dumps(line).encode() + b"\n"
        time.sleep(0.1)  # the work
