"""A hub in a process of its own, for the tests in Python, and waiting for a condition."""

import os
import re
import subprocess
import time

import httpx

DEADLINE_S = 10


class Hub:
    """A hub on ports that are free."""

    def __init__(self):
        env = {name: value for name, value in os.environ.items() if name != "FANFARE_BIN"}
        listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [os.environ["FANFARE_BIN"], "serve", *listen],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for line in self.process.stdout:
            if found := re.fullmatch(r" +hub +(http://127\.0\.0\.1:\d+)\n", line):
                self.url = found[1]
                return
        raise AssertionError("the hub did not say where it listens")

    def publish(self, channel, data, **query):
        answer = httpx.post(f"{self.url}/channels/{channel}", content=data, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def until(condition, what):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.01)
