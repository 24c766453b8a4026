"""Installs the package into a copy of this system that nobody else sees, runs the hub as its unit
says, and takes it away again. `test_package.py` runs this in a mount and a network namespace of its
own, as root: `installed.py PACKAGE`."""

import fcntl
import os
import pathlib
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

import support
from support import get

PUBLIC, ADMIN = "http://127.0.0.1:8080", "http://127.0.0.1:8081"
UNIT = "lib/systemd/system/fanfare.service"
CONF = "etc/fanfare/fanfare.toml"
# What dpkg and its triggers keep of any package, removed or not.
RECORDS = ("var/lib/dpkg/", "var/log/", "var/cache/")
# Of 100; what is left is the network, which a hub is for.
EXPOSURE_MAX = 16
WATCHDOG_S = 2


class Copy:
    """This system with a layer of its own for what is written."""

    def __init__(self, folder):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
        self.written, self.root = folder / "written", folder / "root"
        for name in ["written", "work", "root"]:
            (folder / name).mkdir()
        layers = f"lowerdir=/,upperdir={self.written},workdir={folder}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, self.root], check=True)
        for name in ["proc", "dev", "sys"]:
            subprocess.run(["mount", "--rbind", f"/{name}", self.root / name], check=True)

    def run(self, *command, status=0):
        """Runs a command in it and answers what it says."""
        done = subprocess.run(
            ["chroot", self.root, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                "PATH": os.environ["PATH"],
                "DEBIAN_FRONTEND": "noninteractive",
                "LC_ALL": "C.UTF-8",
            },
        )
        assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def has(self, path):
        return (self.root / path).exists()

    def left(self):
        """What of the package is there still."""
        paths = (path.relative_to(self.written).as_posix() for path in self.written.rglob("*"))
        return [path for path in paths if "fanfare" in path and not path.startswith(RECORDS)]


def main(package):
    loopback_up()
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(pathlib.Path(folder))
        try:
            installs(copy, package)
            unit = Unit((copy.root / UNIT).read_text())
            runs(copy, unit)
            is_upgraded(copy, package)
            goes(copy)
        finally:
            subprocess.run(["umount", "--lazy", "--recursive", folder], check=True)
    print("installed, ran, went")


def installs(copy, package):
    shutil.copy(package, copy.root / "tmp/fanfare.deb")
    copy.run("dpkg", "--no-triggers", "--install", "/tmp/fanfare.deb")
    assert copy.run("dpkg", "--verify", "fanfare") == ""
    assert copy.run("fanfare", "--version").startswith("fanfare ")
    assert "fine" in copy.run("fanfare", "check", "--config", "/" + CONF)
    wanted = "etc/systemd/system/multi-user.target.wants/fanfare.service"
    assert (copy.root / wanted).is_symlink()
    # The unit is right, with its commands and its manual page where it says; and it is tight.
    assert copy.run("systemd-analyze", "verify", "/" + UNIT) == ""
    tight = ["--offline=true", f"--threshold={EXPOSURE_MAX}", "/" + UNIT]
    copy.run("systemd-analyze", "security", "--no-pager", *tight)
    copy.run("bash", "-c", ". /usr/share/bash-completion/completions/fanfare")
    pages = [page.name for page in (copy.root / "usr/share/man/man1").glob("fanfare*.gz")]
    assert "fanfare.1.gz" in pages
    for page in pages:
        warn = f"zcat /usr/share/man/man1/{page} | groff -Kutf8 -man -Tutf8 -ww -z"
        assert copy.run("bash", "-c", warn) == "", page


class Unit:
    """What the unit says, by key."""

    def __init__(self, text):
        self.values = {}
        for line in text.splitlines():
            if "=" in line and not line.startswith("#"):
                key, value = line.split("=", 1)
                self.values.setdefault(key, []).append(value)

    def one(self, key):
        (value,) = self.values[key]
        return value


def runs(copy, unit):
    """The unit's own command line, as somebody who may nothing, told where to report."""
    reports = Reports(copy)
    hub = start(copy, unit)
    try:
        reports.wait("READY=1")
        assert get(ADMIN + "/readyz")[0] == 200
        copy.run("fanfare", "health")
        copy.run("fanfare", "health", "--ready")
        with subscription() as stream:
            id = copy.run("fanfare", "publish", "news", "hello").strip()
            assert f"id: {id}" in until(stream, "data: hello")

            # A file that is wrong is refused before the hub sees it; one that is right is taken.
            check, reload = (shlex.split(line) for line in unit.values["ExecReload"])
            settings = copy.root / CONF
            safe = settings.read_text()
            settings.write_text(safe + "ring_agee = 1\n")
            assert "ring_agee" in copy.run(*check, status=64)
            settings.write_text(safe.replace('#ring_age = "1h"', 'ring_age = "2h"'))
            copy.run(*check)
            assert reload[:-1] == ["/bin/kill", "-HUP"] and reload[-1] == "$MAINPID"
            hub.send_signal(signal.SIGHUP)
            reports.wait("RELOADING=1")
            reports.wait("READY=1")
            copy.run("fanfare", "publish", "news", "again")
            until(stream, "data: again")
            settings.write_text(safe)

            # It is alive.
            reports.wait("WATCHDOG=1")

            hub.send_signal(signal.SIGTERM)
            reports.wait("STOPPING=1")
            assert "drain" in until(stream, "fanfare.reconnect", "data:")
        assert hub.wait(seconds(unit.one("TimeoutStopSec"))) == 0
    finally:
        hub.kill()
        hub.wait()
        reports.close()
    copy.run("fanfare", "health", status=1)


def start(copy, unit):
    assert seconds(unit.one("WatchdogSec")) > WATCHDOG_S
    may = ["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]
    return subprocess.Popen(
        [
            *("chroot", copy.root, "setpriv", *may, "--bounding-set=-all"),
            *shlex.split(unit.one("ExecStart")),
        ],
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
        env={
            "PATH": os.environ["PATH"],
            "NOTIFY_SOCKET": "/tmp/notify",
            # Shorter than in the unit, so that nobody has to wait for it.
            "WATCHDOG_USEC": str(WATCHDOG_S * 1_000_000),
            "FANFARE_DRAIN_PERIOD": "2s",
        },
    )


class Reports:
    """What the hub tells its init system."""

    def __init__(self, copy):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = copy.root / "tmp/notify"
        self.socket.bind(str(path))
        path.chmod(0o666)

    def wait(self, line, deadline_s=support.DEADLINE_S):
        end = time.monotonic() + deadline_s
        while (left_s := end - time.monotonic()) > 0:
            self.socket.settimeout(left_s)
            if line in self.socket.recv(65536).decode().splitlines():
                return
        raise AssertionError(f"no {line} within {deadline_s} s")

    def close(self):
        self.socket.close()


def subscription():
    return urllib.request.urlopen(PUBLIC + "/channels/news", timeout=support.DEADLINE_S)


def until(stream, *needles):
    """Reads lines until each needle was in one, in their order, and answers what was read."""
    read = ""
    for needle in needles:
        line = ""
        while needle not in line:
            line = stream.readline().decode()
            assert line, f"the stream ended before {needle}: {read}"
            read += line
    return read


def is_upgraded(copy, package):
    """What the operator changed stays."""
    settings = copy.root / CONF
    settings.write_text(settings.read_text() + '\n# Ours.\ndrain_period = "5s"\n')
    copy.run("dpkg", "--no-triggers", "--install", "--force-confdef", "/tmp/fanfare.deb")
    assert "# Ours." in settings.read_text()


def goes(copy):
    (copy.root / "tmp/notify").unlink()
    (copy.root / "tmp/fanfare.deb").unlink()
    copy.run("dpkg", "--no-triggers", "--remove", "fanfare")
    assert copy.has(CONF) and not copy.has("usr/bin/fanfare")
    copy.run("dpkg", "--no-triggers", "--purge", "fanfare")
    assert copy.left() == []
    copy.run("dpkg", "--status", "fanfare", status=1)


def loopback_up():
    """A fresh network namespace has a loopback that is down."""
    up, flags = 0x1, 0x8914
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, flags, struct.pack("16sh22x", b"lo", up))


def seconds(text):
    assert text.endswith("s") and not text.endswith("ms")
    return int(text[:-1])


if __name__ == "__main__":
    main(sys.argv[1])
