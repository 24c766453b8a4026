"""A producer is killed at random tokens, again and again, and started again each time: the channel
then has each token once, in order, and its end.

`RUNS` says how many runs there are, `SEED` runs one alone, as a failure tells.
"""

import os
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from hub import Hub
from producer import FENCED, token

RUNS = int(os.environ.get("RUNS", "25"))
SEEDS = [int(os.environ["SEED"])] if "SEED" in os.environ else range(RUNS)
PRODUCER = Path(__file__).with_name("producer.py")
DEADLINE_S = 20
TOKENS_MAX = 60
KILLS_MAX = 4


@pytest.fixture(scope="module")
def hub():
    hub = Hub()
    yield hub
    hub.kill()


class Life:
    """One process of the producer."""

    def __init__(self, run, cut=None):
        self.reached = -1
        arguments = [run.address, run.channel, run.way, str(run.tokens), str(run.seed)]
        cut = [f"{cut[0]}:{cut[1]}"] if cut else []
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", PRODUCER, *arguments, *cut],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        run.lives.append(self)

    def sends(self, at):
        """Waits until it has sent a token, or has ended before."""
        while self.reached < at and (line := self.process.stdout.readline()):
            if line.endswith(" sent\n"):
                self.reached = int(line.split()[0])

    def signal(self, number):
        self.process.send_signal(number)

    def ended(self):
        """How it ended."""
        _, errors = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, errors


class Run:
    """All that a seed decides."""

    def __init__(self, hub, seed):
        self.random, self.seed = random.Random(seed), seed
        self.address = hub.url.removeprefix("http://")
        self.channel, self.tokens = f"run/{seed}", self.random.randint(1, TOKENS_MAX)
        self.way = self.random.choice(["fence", "fence", "resume", "replay"])
        self.kills = self.zombies = 0
        self.lives = []

    def end(self):
        """Leaves no process behind."""
        for life in self.lives:
            life.process.kill()
            life.process.communicate()

    def play(self):
        zombies = []
        for _ in range(self.random.randint(1, KILLS_MAX)):
            at = self.random.randrange(self.tokens)
            how = self.random.choice(["kill", "kill", "cut", "zombie", "zombie"])
            life = Life(self, (at, self.random.randint(1, 30)) if how == "cut" else None)
            if how == "cut":
                returned, errors = life.ended()
                assert returned in (-signal.SIGKILL, 0), errors
                self.kills += returned != 0
                continue
            life.sends(at)
            # A stopped process is as good as dead to whoever starts the next one, until it goes on.
            # Lives of one epoch cannot be told apart, so there it would be no zombie.
            if how == "zombie" and self.way == "fence":
                life.signal(signal.SIGSTOP)
                zombies.append(life)
                continue
            life.signal(signal.SIGKILL)
            returned, errors = life.ended()
            assert returned in (-signal.SIGKILL, 0), errors
            self.kills += returned != 0
        last = Life(self)
        if zombies:
            last.sends(self.random.randrange(self.tokens))
        for zombie in zombies:
            zombie.signal(signal.SIGCONT)
        returned, errors = last.ended()
        assert returned == 0, f"{returned} {errors}"
        for zombie in zombies:
            returned, errors = zombie.ended()
            assert returned in (FENCED, 0), f"{returned} {errors}"
            self.zombies += returned == FENCED

    def read(self):
        """Everything that a subscriber gets from the beginning to the end."""
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as connection:
            target = f"/channels/{self.channel}?from=start&open=0"
            # Without chunks: what comes is the stream itself.
            connection.sendall(f"GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            stream = b"".join(iter(lambda: connection.recv(65_536), b""))
        _, body = stream.split(b"\r\n\r\n", 1)
        return [event for block in body.decode().split("\n\n") if (event := parse(block))]


def parse(block):
    """An event as its type and data; None if there is none."""
    fields = [line.split(": ", 1) for line in block.split("\n") if line and line[0] != ":"]
    data = [value for name, value in fields if name == "data"]
    return (dict(fields).get("event", ""), "\n".join(data)) if data else None


def test_no_token_is_lost_and_none_is_doubled(hub):
    kills, zombies, ways = 0, 0, Counter()
    for seed in SEEDS:
        run = Run(hub, seed)
        ways[run.way] += 1
        again = f"run it again with SEED={seed}"
        try:
            run.play()
        except (AssertionError, subprocess.TimeoutExpired) as error:
            raise AssertionError(again) from error
        finally:
            run.end()
        *tokens, end = run.read()
        expected = [("", token(seed, at)) for at in range(run.tokens)]
        assert tokens == expected, f"{run.way}: {again}"
        assert end[0] == "fanfare.end" and '"reason":"done"' in end[1], f"{end}: {again}"
        kills, zombies = kills + run.kills, zombies + run.zombies
    print(f"{dict(ways)} runs, {kills} producers killed, {zombies} more fenced as zombies")
    # A proof in which nobody dies proves nothing.
    assert len(SEEDS) < 25 or (kills >= len(SEEDS) // 2 and zombies > 0)
