"""The unit, its settings, and the Debian package that carries them."""

import hashlib
import os
import pathlib
import re
import subprocess
import sys

import support
from support import BIN, OPS, build

UNIT = (OPS / "systemd/fanfare.service").read_text()
SETTINGS = OPS / "systemd/fanfare.toml"


def check(path):
    return subprocess.run([BIN, "check", "--config", path], capture_output=True, text=True)


def test_the_settings_are_fine_as_they_are_and_with_each_line_that_they_offer(tmp_path):
    text = SETTINGS.read_text()
    assert check(SETTINGS).returncode == 0
    offered = re.findall(r"^#([a-z_]+ = .*)$", text.split("[[channels]]")[0], re.MULTILINE)
    altered = tmp_path / "fanfare.toml"
    for line in offered:
        altered.write_text(line)
        done = check(altered)
        assert done.returncode == 0, line + done.stderr
    altered.write_text(re.sub(r"^#([a-z_]+ =|\[\[)", r"\1", text, flags=re.MULTILINE))
    done = check(altered)
    assert done.returncode == 0, done.stderr
    # Nothing is left out, and nothing is set.
    table = subprocess.run([BIN, "settings-table"], capture_output=True, text=True).stdout
    keys = re.findall(r"^\| `--[a-z-]+` \| `[A-Z_]+` \| `([a-z_]+)`", table, re.MULTILINE)
    assert sorted(line.split()[0] for line in offered) == sorted(keys)
    assert not re.search(r"^[^#\n]", text, re.MULTILINE)


def test_the_unit_waits_for_the_drain_and_is_not_killed_for_its_memory():
    (stop_s,) = re.findall(r"^TimeoutStopSec=(\d+)s$", UNIT, re.MULTILINE)
    table = subprocess.run([BIN, "settings-table"], capture_output=True, text=True).stdout
    period, delay = (
        re.search(rf"`drain_{which}` \| (\d+)s \|", table)[1] for which in ["period", "delay"]
    )
    assert int(stop_s) >= int(period) + int(delay) + 10
    # The default of --memory-max is half of it.
    (memory,) = re.findall(r"^MemoryMax=(\d+)%$", UNIT, re.MULTILINE)
    assert int(memory) < 100 and "half of the memory" in table


def test_the_package_is_the_same_each_time(package, tmp_path):
    def digest(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()

    assert digest(build(tmp_path)) == digest(package)


def test_the_package_has_what_it_should(package):
    listed = subprocess.run(["dpkg-deb", "--contents", package], capture_output=True, text=True)
    modes = {line.split()[-1]: line.split()[:2] for line in listed.stdout.splitlines()}
    for path, (mode, owner) in modes.items():
        assert owner == "root/root", path
        wanted = "drwxr-xr-x" if path.endswith("/") else "-rw-r--r--"
        assert mode == ("-rwxr-xr-x" if path == "./usr/bin/fanfare" else wanted), path
    for path in [
        "./etc/fanfare/fanfare.toml",
        "./lib/systemd/system/fanfare.service",
        "./usr/share/bash-completion/completions/fanfare",
        "./usr/share/doc/fanfare/RUNBOOK.md",
        "./usr/share/doc/fanfare/copyright",
        "./usr/share/man/man1/fanfare.1.gz",
        "./usr/share/man/man1/fanfare-serve.1.gz",
    ]:
        assert path in modes
    # Where the alerts point to.
    assert {line for line in modes if line.endswith("RUNBOOK.md")} == {
        "." + url.split("#")[0].removeprefix("file://")
        for url in (rule["annotations"]["runbook_url"] for rule in support.rules("alert").values())
    }


def test_it_installs_runs_as_its_unit_says_and_goes(package):
    # The copy of the machine that it is installed in would have it before.
    here = pathlib.Path("/usr/bin/fanfare")
    assert not here.exists(), f"{here} is on this machine; `dpkg --purge fanfare` before the tests"
    root = [] if os.geteuid() == 0 else ["sudo", "--preserve-env"]
    apart = ["unshare", "--mount", "--net", "--propagation", "private"]
    inner = [sys.executable, pathlib.Path(__file__).with_name("installed.py"), package]
    done = subprocess.run([*root, *apart, *inner], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "installed, ran, went\n"), (
        done.stdout + done.stderr
    )
