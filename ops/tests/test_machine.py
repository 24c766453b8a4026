"""The settings of the machine, and the script that measures what a hub needs of it."""

import json
import pathlib
import re
import subprocess

from support import OPS

LIMITS = (OPS / "LIMITS.md").read_text()
SYSCTL = (OPS / "sysctl.d/60-fanfare.conf").read_text()
MEASURE = OPS / "sizing/measure"
# A load generator that says the same of every run, and leaves word of what it was asked.
GENERATOR = """#!/bin/sh
echo "$*" >> {asked}
echo '{report}'
exit {status}
"""
NAMES = [
    *("user memory per subscriber", "kernel memory per subscriber, both ends"),
    *("CPU per delivery", "CPU per event"),
]
REPORT = {
    "machine": [["processor", "of paper"]],
    "outcomes": [
        {
            "complaints": ["it was busy"],
            "figures": [{"name": name, "value": 0.000_004} for name in NAMES],
        }
    ],
}


def test_each_setting_exists_and_has_its_reason():
    keys = re.findall(r"^([a-z0-9_.]+) = ", SYSCTL, re.MULTILINE)
    assert keys
    for key in keys:
        assert pathlib.Path("/proc/sys", key.replace(".", "/")).exists(), key
        assert f"`{key}`" in LIMITS, key


def measure(folder, status):
    generator = folder / "generator"
    asked = folder / "asked"
    text = GENERATOR.format(asked=asked, report=json.dumps(REPORT), status=status)
    generator.write_text(text)
    generator.chmod(0o755)
    table = folder / "SIZING.md"
    table.write_text("before\n<!-- measured -->\nold\n<!-- /measured -->\nafter\n")
    command = [MEASURE, "--small", "--loadtest", generator, "--write", table]
    done = subprocess.run(command, capture_output=True, text=True)
    return done, table.read_text(), asked.read_text().splitlines()


def test_the_table_is_written_between_its_marks(tmp_path):
    done, text, asked = measure(tmp_path, 0)
    assert done.returncode == 0, done.stderr
    assert text.startswith("before\n<!-- measured -->\nOn processor of paper:\n")
    assert text.endswith("|\n<!-- /measured -->\nafter\n") and "old" not in text
    assert "4.00 µs of CPU | 175,000 a second |" in text
    assert len([line for line in text.splitlines() if line.startswith("| ")]) >= len(asked)
    assert {line.split()[0] for line in asked} == {"idle", "fanout", "burst", "publish"}


def test_a_busy_machine_writes_nothing(tmp_path):
    done, text, _ = measure(tmp_path, 3)
    assert done.returncode != 0 and "busy" in done.stderr
    assert "\nold\n" in text


def test_a_fault_writes_nothing(tmp_path):
    done, text, _ = measure(tmp_path, 2)
    assert done.returncode != 0 and "failed with 2" in done.stderr
    assert "\nold\n" in text


def test_the_table_has_its_marks():
    text = (OPS / "SIZING.md").read_text()
    assert text.count("<!-- measured -->\n") == 1 and text.count("<!-- /measured -->") == 1
