"""The rules: they are right, each alert is tested both ways, and each has its runbook entry."""

import re
import subprocess

import support
from support import OPS

ALERTS = support.rules("alert")
SEVERITIES = {"critical", "warning", "info", "none"}
RUNBOOK_URL = "file:///usr/share/doc/fanfare/RUNBOOK.md#"


def promtool(*arguments):
    done = subprocess.run(
        ["promtool", *arguments], cwd=OPS / "prometheus", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_right():
    promtool("check", "rules", "--lint-fatal", "fanfare.rules.yaml")
    promtool("check", "config", "--lint-fatal", "prometheus.yml")


def test_the_alerts_fire_when_they_should():
    promtool("test", "rules", "tests.yaml")


def test_every_alert_is_tested_both_ways():
    fires, quiet = set(), set()
    for group in support.yaml_of(OPS / "prometheus/tests.yaml")["tests"]:
        for test in group.get("alert_rule_test", []):
            (fires if test["exp_alerts"] else quiet).add(test["alertname"])
    assert fires == set(ALERTS)
    # The watchdog is never quiet.
    assert quiet == set(ALERTS) - {"FanfareWatchdog"}


def test_every_record_is_tested():
    tested = set()
    for group in support.yaml_of(OPS / "prometheus/tests.yaml")["tests"]:
        tested.update(test["expr"] for test in group.get("promql_expr_test", []))
    assert tested == set(support.rules("record"))


def test_every_alert_says_what_people_need():
    for name, rule in ALERTS.items():
        assert name.startswith("Fanfare")
        assert rule["labels"]["severity"] in SEVERITIES, name
        said = rule["annotations"]
        assert set(said) == {"summary", "description", "runbook_url"}, name
        assert said["runbook_url"] == RUNBOOK_URL + name.lower()
        assert said["description"].endswith(".") and not said["summary"].endswith("."), name


def test_every_alert_is_in_the_runbook_and_nothing_else():
    text = (OPS / "RUNBOOK.md").read_text()
    headings = re.findall(r"^## (Fanfare\w+)$", text, re.MULTILINE)
    assert headings == list(ALERTS), "the runbook has the alerts in the order of the rules"
    for entry in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        name = entry.split()[0]
        for part in ["**Means.**", "**Look.**", "**Do.**"]:
            assert entry.count(part) == (name in ALERTS), f"{name} {part}"
