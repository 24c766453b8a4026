"""The package under a systemd that really runs: only it applies what the unit forbids."""

import os
import pathlib
import subprocess

import pytest
import support
from support import wait

NAMESPACES = ["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup"]
PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"


class Booted:
    """A copy of this system with its own systemd; it goes when this does."""

    def __init__(self, folder, package):
        self.root = [] if os.geteuid() == 0 else ["sudo", "--preserve-env"]
        self.log = (folder / "log").open("w+")
        (folder / "system").mkdir()
        apart = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--propagation", "private"]
        boot = [pathlib.Path(__file__).with_name("boot"), folder / "system", package]
        self.process = subprocess.Popen(
            [*self.root, *apart, *boot], stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL
        )
        self.first = None

    def up(self):
        """Whether systemd answers."""
        if self.first is None:
            pids = subprocess.run(
                ["pgrep", "--parent", str(self.process.pid)], capture_output=True, text=True
            ).stdout.split()
            self.first = pids[0] if pids else None
        return self.first and self.ask("systemctl show --property=Version").returncode == 0

    def ask(self, command):
        enter = ["nsenter", "--target", self.first, *NAMESPACES]
        inner = ["env", "-i", PATH, "LC_ALL=C.UTF-8", "bash", "-c", command]
        return subprocess.run([*self.root, *enter, *inner], capture_output=True, text=True)

    def run(self, command):
        """What a command says that has to succeed."""
        done = self.ask(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}{self.journal()}"
        return done.stdout.strip()

    def journal(self):
        return self.ask("journalctl --no-pager --unit=fanfare --lines=20").stdout

    def property(self, name):
        return self.run(f"systemctl show --value --property={name} fanfare")

    def stop(self):
        # With the first process of a namespace all others in it go.
        if self.first:
            subprocess.run([*self.root, "kill", "-KILL", self.first], check=False)
        self.process.kill()
        self.process.wait(support.DEADLINE_S)
        self.log.close()


@pytest.fixture
def system(tmp_path, package):
    booted = Booted(tmp_path, package)
    try:
        wait("systemd", booted.up)
        yield booted
    except AssertionError:
        booted.log.seek(0)
        print(booted.log.read()[-2_000:])
        raise
    finally:
        booted.stop()


def test_the_unit_runs_under_systemd(system):
    # It is enabled and started by its installation, and ready when `start` returns.
    system.run("dpkg --no-triggers --install /fanfare.deb")
    assert system.run("systemctl is-enabled fanfare") == "enabled"
    assert system.run("systemctl is-active fanfare") == "active"
    system.run("fanfare health --ready && fanfare publish news hello")

    # It is somebody who may nothing.
    main = system.property("MainPID")
    status = dict(
        line.split(":", 1) for line in system.run(f"cat /proc/{main}/status").splitlines()
    )
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert (int(status["NoNewPrivs"]), int(status["Seccomp"])) == (1, 2)
    assert int(status["Uid"].split()[0]) >= 61_184, "of the range for dynamic users"

    # It reads its settings again; a file that is wrong never reaches it.
    system.run("echo 'ring_age = \"2h\"' >> /etc/fanfare/fanfare.toml && systemctl reload fanfare")
    system.run("echo 'ring_agee = 1' >> /etc/fanfare/fanfare.toml && ! systemctl reload fanfare")
    system.run("sed -i /agee/d /etc/fanfare/fanfare.toml && fanfare health")
    assert system.property("MainPID") == main, "it is the same process"

    system.run("systemctl stop fanfare")
    assert (system.property("Result"), system.property("ExecMainStatus")) == ("success", "0")
    system.run("systemctl start fanfare && dpkg --no-triggers --purge fanfare")
    assert system.run("systemctl list-units --all --no-legend 'fanfare*'") == ""
