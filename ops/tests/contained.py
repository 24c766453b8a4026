"""Runs the hub as a container would: `test_image.py` runs this in a mount and a network namespace
of its own, as root: `contained.py PLAN`, where the plan is JSON."""

import json
import shutil
import subprocess
import sys

import support
from installed import loopback_up, subscription, until
from support import get, wait


def main(plan):
    loopback_up()
    root = plan["root"]
    subprocess.run(["mount", "--bind", root, root], check=True)
    subprocess.run(["mount", "--bind", "/proc", f"{root}/proc"], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
    refused = subprocess.run(["touch", f"{root}/x"], capture_output=True)
    assert refused.returncode != 0, "the root can be written to"
    # The container has no setpriv: it comes before the root changes, and leaves rights for that.
    rights = ["--no-new-privs", "--bounding-set=-all,+sys_chroot,+setuid,+setgid"]
    user = f"--userspec={plan['user']}"
    before = [shutil.which("setpriv"), *rights, shutil.which("chroot"), user, root]
    hub = subprocess.Popen([*before, *plan["command"]], env=plan["env"], stdout=subprocess.DEVNULL)
    health = [*before, *plan["health"]]
    try:
        wait("health", lambda: subprocess.run(health, env={}, capture_output=True).returncode == 0)
        with subscription() as stream:
            assert get("http://127.0.0.1:8080/channels/news", "POST", b"hello")[0] == 200
            until(stream, "data: hello")
            hub.terminate()
            until(stream, "fanfare.reconnect")
        assert hub.wait(support.DEADLINE_S) == 0
        assert subprocess.run(health, env={}, capture_output=True).returncode == 1
    finally:
        hub.kill()
        hub.wait()
    print("ran and drained")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
