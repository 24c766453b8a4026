"""What the tests share: a hub and a Prometheus of their own, and waiting for a condition."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

OPS = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ["FANFARE_BIN"])
RULES = OPS / "prometheus/fanfare.rules.yaml"
DASHBOARD = OPS / "grafana/dashboard.json"
# Far above what anything here takes: whoever meets it hangs.
DEADLINE_S = 30


def wait(what, condition, deadline_s=DEADLINE_S):
    """Waits until `condition()` is true and answers what it is."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {deadline_s} s for {what}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url, method="GET", data=None, headers=None, timeout_s=10):
    """The status and the body of an answer, `(0, "")` if nobody answers."""
    asked = urllib.request.Request(url, method=method, data=data, headers=headers or {})
    try:
        with urllib.request.urlopen(asked, timeout=timeout_s) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return 0, ""


def yaml_of(path):
    return yaml.safe_load(path.read_text())


def build(folder):
    """Builds the Debian package into a folder and answers its path."""
    done = subprocess.run([OPS / "debian/build", BIN, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return pathlib.Path(done.stdout.strip())


def rules(kind):
    """The `alert` or `record` rules by name."""
    groups = yaml_of(RULES)["groups"]
    return {rule[kind]: rule for group in groups for rule in group["rules"] if kind in rule}


class Hub:
    """A hub on ports of its own."""

    def __init__(self, *flags, admin_port=None, variables=None):
        self.public = f"http://127.0.0.1:{free_port()}"
        self.admin = f"http://127.0.0.1:{admin_port or free_port()}"
        listen = ["--listen", self.public[7:], "--admin-listen", self.admin[7:]]
        self.process = subprocess.Popen(
            [BIN, *listen, *flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **(variables or {})},
        )

        def answers():
            assert self.process.poll() is None, "the hub ended"
            return get(self.admin + "/livez")[0] == 200

        try:
            wait("the hub", answers)
        except BaseException:
            self.stop()
            raise

    def publish(self, channel="news", data=b"hello"):
        return get(f"{self.public}/channels/{channel}", "POST", data)

    def subscribe(self, channel="news", headers=None):
        """An open stream; close it."""
        url = f"{self.public}/channels/{channel}"
        asked = urllib.request.Request(url, headers=headers or {})
        return urllib.request.urlopen(asked, timeout=DEADLINE_S)

    def metrics(self):
        status, text = get(self.admin + "/metrics")
        assert status == 200, text
        return text

    def stop(self):
        """Ends it as an init system would and answers its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Prometheus:
    """The real one, that looks every second at one hub's operators' port with our rules."""

    def __init__(self, folder, admin, alter=lambda rules: rules):
        self.url = f"http://127.0.0.1:{free_port()}"
        config = yaml_of(OPS / "prometheus/prometheus.yml")
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [
            admin.removeprefix("http://")
        ]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        (folder / RULES.name).write_text(yaml.safe_dump(alter(yaml_of(RULES))))
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={self.url[7:]}",
            ],
            stdout=self.log,
            stderr=self.log,
        )
        try:
            wait("Prometheus", lambda: get(self.url + "/-/ready")[0] == 200)
        except BaseException:
            self.stop()
            raise

    def ask(self, path):
        status, text = get(self.url + "/api/v1/" + path)
        answer = json.loads(text or "{}")
        assert status == 200 and answer["status"] == "success", f"{path}: {text}"
        return answer["data"]

    def query(self, expr):
        return self.ask("query?" + urllib.parse.urlencode({"query": expr}))["result"]

    def firing(self):
        """The alerts that fire, by name."""
        alerts = self.ask("alerts")["alerts"]
        return {a["labels"]["alertname"] for a in alerts if a["state"] == "firing"}

    def stop(self):
        self.process.terminate()
        self.process.wait(DEADLINE_S)
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
