"""The image and the compose file. There is no engine here to build it, so the tests read the
Dockerfile as one would, and run the hub in what its last stage has: the binary, the C library, a
user who is nobody, and a root that cannot be written to."""

import fnmatch
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import support
from support import BIN, OPS

REPOSITORY = OPS.parent
# What gcr.io/distroless/cc-debian12 has of what a binary may need.
LIBRARIES = r"linux-vdso|ld-linux|libc\.so|libm\.so|libgcc_s|libpthread|libdl|librt|libstdc\+\+"
COMPOSE = support.yaml_of(OPS / "docker/compose.yaml")


def stages():
    """The instructions of each stage, as pairs of a word and its arguments."""
    text = re.sub(r"\\\n", " ", (OPS / "docker/Dockerfile").read_text())
    found = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, arguments = line.split(None, 1)
        if word == "FROM":
            found.append([])
        found[-1].append((word, " ".join(arguments.split())))
    return found


def last(word):
    (arguments,) = [arguments for other, arguments in stages()[-1] if other == word]
    return arguments


def env(*more):
    return dict(pair.split("=", 1) for pair in [*last("ENV").split(), *more])


def test_the_builder_has_the_pinned_compiler():
    with (REPOSITORY / "rust-toolchain.toml").open("rb") as file:
        pinned = tomllib.load(file)["toolchain"]["channel"]
    build = dict(stages()[0])
    assert build["FROM"].startswith(f"docker.io/library/rust:{pinned}-slim-")
    assert build["ENV"] == f"RUSTUP_TOOLCHAIN={pinned}"
    assert " cargo build --release --locked -p fanfare " in build["RUN"]


def test_the_context_has_what_the_build_needs(tmp_path):
    """What .dockerignore lets through is a workspace that cargo understands."""
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout.split()
    lines = (OPS / "docker/Dockerfile.dockerignore").read_text().splitlines()
    allowed = [line[1:] for line in lines if line.startswith("!")]
    kept = [path for path in tracked if any(path == a or path.startswith(a + "/") for a in allowed)]
    assert "README.md" not in kept and "Cargo.lock" in kept
    for path in kept:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / path, tmp_path / path)
    # No code reads a file from beyond it.
    for path in tmp_path.rglob("src/**/*.rs"):
        for included in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', path.read_text()):
            file = (path.parent / included).resolve()
            assert file.is_relative_to(tmp_path) and file.is_file(), path
    metadata = ["cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version=1"]
    env = {**os.environ, "RUSTUP_TOOLCHAIN": dict(stages()[0])["ENV"].split("=")[1]}
    done = subprocess.run(metadata, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    members = {package["name"] for package in json.loads(done.stdout)["packages"]}
    assert {"fanfare", "fanfare-core", "fanfare-server", "fanfare-loadtest"} <= members


def test_the_last_stage_has_no_shell_and_no_root():
    words = [word for word, _ in stages()[-1]]
    assert "RUN" not in words
    assert re.fullmatch(r"gcr\.io/distroless/cc-debian12:nonroot", last("FROM"))
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last("USER")), "a number, and not root's"
    for word in ["ENTRYPOINT", "CMD"]:
        assert json.loads(last(word)), "the exec form, because there is no shell"
    assert last("STOPSIGNAL") == "SIGTERM"
    assert last("EXPOSE").split() == ["8080", "8081"]


def test_the_image_is_closed_until_somebody_opens_it():
    def starts(variables):
        done = subprocess.run([BIN, "check"], env=variables, capture_output=True, text=True)
        return done.returncode

    assert starts(env()) == 64
    assert starts(env("FANFARE_INSECURE_OPEN=true")) == 64
    assert starts(env("FANFARE_ALLOWED_HOSTS=hub.example")) == 64
    assert starts(env("FANFARE_INSECURE_OPEN=true", "FANFARE_ALLOWED_HOSTS=hub.example")) == 0


def test_it_runs_with_nothing_but_itself(tmp_path):
    """In a root that has the binary and the C library only, read-only, as the image's user."""
    listed = subprocess.run(["ldd", BIN], check=True, capture_output=True, text=True).stdout
    root = tmp_path / "root"
    (root / "proc").mkdir(parents=True)
    for line in listed.splitlines():
        assert re.search(LIBRARIES, line), f"the image has no {line}"
        path = re.search(r"(/\S+)", line)
        if path:
            target = root / path[1][1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path[1], target)
    (root / "usr/bin").mkdir(parents=True, exist_ok=True)
    shutil.copy(BIN, root / "usr/bin/fanfare")
    health = last("HEALTHCHECK").split(" CMD ")[1]
    plan = {
        "root": str(root),
        "user": last("USER"),
        "env": env("FANFARE_INSECURE_OPEN=true", "FANFARE_ALLOWED_HOSTS=hub.example"),
        "command": json.loads(last("ENTRYPOINT")) + json.loads(last("CMD")),
        "health": json.loads(health),
    }
    root_rights = [] if os.geteuid() == 0 else ["sudo", "--preserve-env"]
    apart = ["unshare", "--mount", "--net", "--propagation", "private"]
    inner = [sys.executable, pathlib.Path(__file__).with_name("contained.py"), json.dumps(plan)]
    done = subprocess.run([*root_rights, *apart, *inner], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "ran and drained\n"), done.stdout + done.stderr


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_the_services_may_do_nothing(name):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "mem_limit" in service and "privileged" not in service
    for port in service["ports"]:
        assert port.startswith("127.0.0.1:"), "this machine and nobody else"
    image = service["image"]
    assert name == "hub" or re.search(r":v?\d+\.\d+\.\d+$", image), "a version, not latest"


def test_the_services_fit_together():
    services = COMPOSE["services"]
    hub = services["hub"]
    variables = {**env(), **hub["environment"]}
    assert subprocess.run([BIN, "check"], env=variables, capture_output=True).returncode == 0
    period_s = int(variables["FANFARE_DRAIN_PERIOD"].removesuffix("s"))
    assert int(hub["stop_grace_period"].removesuffix("s")) >= period_s + 10
    assert hub["memswap_limit"] == hub["mem_limit"]
    build = hub["build"]
    assert (OPS / "docker" / build["context"] / build["dockerfile"]).samefile(
        OPS / "docker/Dockerfile"
    )
    # Each file that is mounted is there, and each network is shared.
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (OPS / "docker" / source).resolve().is_file(), source
            else:
                assert source in COMPOSE["volumes"]
    assert all("operators" in service["networks"] for service in services.values())
    # Prometheus asks the hub by a name that it allows, at the port where it listens.
    (target,) = prometheus()["scrape_configs"][0]["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert host in services and host in variables["FANFARE_ALLOWED_HOSTS"].split(",")
    assert variables["FANFARE_ADMIN_LISTEN"].endswith(":" + port)
    datasource = support.yaml_of(OPS / "docker/grafana/datasource.yaml")["datasources"][0]
    assert datasource["url"] == "http://prometheus:9090" and "prometheus" in services


def prometheus():
    return support.yaml_of(OPS / "docker/prometheus.yml")


def test_the_configurations_of_prometheus_differ_in_the_target_only():
    other = support.yaml_of(OPS / "prometheus/prometheus.yml")
    assert prometheus()["scrape_configs"][0].pop("job_name") == "fanfare"
    for config in (one := prometheus()), other:
        del config["scrape_configs"][0]["static_configs"]
    assert one == other


def test_grafana_is_shown_the_dashboard():
    provider = support.yaml_of(OPS / "docker/grafana/dashboards.yaml")["providers"][0]
    mounted = COMPOSE["services"]["grafana"]["volumes"]
    assert any(fnmatch.fnmatch(v, f"*:{provider['options']['path']}/*.json:ro") for v in mounted)
