"""Rules and dashboard name only what the hub really has, and Prometheus really answers them."""

import contextlib
import functools
import json
import re
import socket
import subprocess

import promql
import pytest
import support

RECORDS = support.rules("record")
ALERTS = support.rules("alert")
DASHBOARD = json.loads(support.DASHBOARD.read_text())
# What Prometheus itself adds.
FOREIGN = {"up": {}}
# Panels that show nothing while all is well.
PANELS_EMPTY = {"Error answers by problem", "Limits reached"}


@pytest.fixture(scope="module")
def hub():
    with support.Hub("--memory-max", "256MiB") as hub:
        yield hub


@pytest.fixture(scope="module")
def known(hub):
    return promql.samples(hub.metrics()) | FOREIGN


@pytest.fixture(scope="module")
def prometheus(hub, tmp_path_factory):
    with support.Prometheus(tmp_path_factory.mktemp("prometheus"), hub.admin) as prometheus:
        yield prometheus


def labels_of(selectors, known):
    """What a record has of the metrics it is made of."""
    labels = {}
    for selector in selectors:
        labels.update(known[selector.name])
    labels.pop("le", None)
    return labels


def dashboard_queries():
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def test_promtool_finds_the_metrics_clean(hub):
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=hub.metrics(), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_rules_name_what_the_hub_has(known):
    has = dict(known)
    for name, rule in RECORDS.items():
        assert promql.wrong(rule["expr"], has) == [], name
        selectors, _ = promql.read(rule["expr"])
        has[name] = labels_of(selectors, known)
    for name, rule in ALERTS.items():
        assert promql.wrong(rule["expr"], has) == [], name


def test_the_tests_of_the_rules_name_what_the_hub_has(known):
    text = (support.OPS / "prometheus/tests.yaml").read_text()
    for series in re.findall(r"series: (?:>-\s*)?'?([^'\n]*)", text):
        # Invented bounds of buckets are fine.
        series = re.sub(r',le="[^"]*"', "", series)
        assert promql.wrong(series, known) == [], series


def test_the_dashboard_names_what_the_hub_has(known):
    for title, expr in dashboard_queries():
        assert promql.wrong(expr, known) == [], title
    for variable in DASHBOARD["templating"]["list"]:
        for name in re.findall(r"label_values\((\w+)", variable.get("definition", "")):
            assert name in known


def fall_behind(hub):
    """A subscriber that does not read until its socket is full, and then does."""
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        host, port = hub.public.removeprefix("http://").split(":")
        slow.connect((host, int(port)))
        slow.sendall(b"GET /channels/large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert slow.recv(12) == b"HTTP/1.1 200"

        def is_blocked():
            hub.publish("large", b"x" * 200_000)
            return "\nfanfare_subscribers_blocked 1\n" in hub.metrics()

        support.wait("a subscriber that is blocked", is_blocked)

        # Workers tell four times a second, and nothing comes once all is read.
        slow.settimeout(0.25)

        def has_read():
            with contextlib.suppress(TimeoutError):
                for _ in range(100):
                    slow.recv(1_000_000)
            return "\nfanfare_subscribers_blocked 0\n" in hub.metrics()

        support.wait("a subscriber that is level again", has_read)


def test_the_dashboard_moves(hub, prometheus):
    """Every panel has data from a hub that is used; none of their queries is refused."""
    streams = [hub.subscribe() for _ in range(3)]
    hub.subscribe("old", {"Last-Event-ID": "another-1"}).close()
    # What `rate` shows has grown between two scrapes, so the first comes before.
    support.wait("the first scrape", lambda: prometheus.query("fanfare_backlog_events_count == 0"))
    fall_behind(hub)
    support.wait("a scrape", lambda: prometheus.query("fanfare_backlog_events_count > 0"))
    for count in range(4):
        for _ in range(20):
            assert hub.publish()[0] == 200
        published = 20 * (count + 1)
        seen = f"sum(fanfare_events_published_total) >= {published}"
        support.wait("a scrape", functools.partial(prometheus.query, seen))

    def empty():
        found = []
        for title, expr in dashboard_queries():
            expr = expr.replace('job="$job"', 'job="fanfare"').replace("$instance", ".*")
            expr = expr.replace("$__rate_interval", "1m")
            results = prometheus.query(expr)
            has_number = any(result["value"][1] != "NaN" for result in results)
            if not has_number and title not in PANELS_EMPTY | {"Restarts", "Drains"}:
                found.append(f"{title}: {expr}")
        return found

    try:
        support.wait("panels with data", lambda: not empty())
    except AssertionError:
        assert empty() == []
    for stream in streams:
        stream.close()


def test_every_record_is_made_and_every_alert_is_evaluated(prometheus):
    def groups():
        return prometheus.ask("rules")["groups"]

    support.wait(
        "rules", lambda: all(r["health"] != "unknown" for g in groups() for r in g["rules"])
    )
    for group in groups():
        for rule in group["rules"]:
            assert rule["health"] == "ok", rule
    for name in RECORDS:
        support.wait(name, functools.partial(prometheus.query, name))


def test_an_alert_fires_and_resolves(tmp_path):
    """With the times that alerts wait cut short: this one is about the way, not the wait."""

    def impatient(rules):
        for group in rules["groups"]:
            for rule in group["rules"]:
                rule.pop("for", None)
        return rules

    port = support.free_port()
    with support.Prometheus(tmp_path, f"http://127.0.0.1:{port}", impatient) as prometheus:
        support.wait("FanfareDown", lambda: "FanfareDown" in prometheus.firing())
        with support.Hub(admin_port=port) as hub:
            support.wait("a hub that is up", lambda: "FanfareDown" not in prometheus.firing())
            assert prometheus.firing() == {"FanfareWatchdog"}
            status, text = support.get(hub.admin + "/api/drain", "POST")
            assert status == 202, text
            support.wait("FanfareDrainLong", lambda: "FanfareDrainLong" in prometheus.firing())
            status, text = support.get(hub.admin + "/api/drain", "DELETE")
            assert status == 200, text
            support.wait("no drain", lambda: "FanfareDrainLong" not in prometheus.firing())
