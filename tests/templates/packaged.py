"""The cluster of docs/install.md on one host: the nodes of the units, with the settings and variables that the page has. Other hosts
have to reach them. test_packages.py starts this in a namespace for networks.
"""

import contextlib
import re
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path

from cluster import get, until
from device import Device
from folders import DEPLOY, PROGRAMS, ROOT
from pod_network import ip

# As other hosts know this one.
HOST = "10.80.1.1"
MARK = "<!-- run by: tests/templates/packaged.py -->"


def blocks():
    """The settings, and what differs for a second connection-node."""
    text = (ROOT / "docs/install.md").read_text()
    (settings, differs) = re.findall(rf"^{re.escape(MARK)}\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return settings, variables(differs)


def variables(text):
    return dict(line.split("=", 1) for line in text.splitlines())


def shipped():
    """The settings of the file in the package, which are comments there."""
    lines = (DEPLOY / "etc/cluster.toml").read_text().splitlines(keepends=True)
    return "".join(line.removeprefix("#") for line in lines if re.match(r"#\w+ = ", line))


def network():
    """An address besides that of loopback, with the default route."""
    ip("link", "set", "lo", "up")
    ip("address", "add", f"{HOST}/32", "dev", "lo")
    ip("route", "add", "default", "dev", "lo", "src", HOST)


def main():
    network()
    settings, second = blocks()
    assert tomllib.loads(shipped()) == tomllib.loads(settings)
    secrets = variables(subprocess.run([DEPLOY / "make-env"], check=True, capture_output=True, text=True).stdout)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="beckon-templates-")))
        file = folder / "cluster.toml"
        file.write_text(settings.replace("redis.example.net", HOST))

        def start(name, command, environment):
            with open(folder / f"{name}.log", "w") as log:
                process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)

        start("redis", [shutil.which("redis-server"), "--bind", HOST, "--protected-mode", "no", "--save", "", "--dir", folder], {})
        wait = {"BECKON_WAIT_FOR_STORE": "true"}
        start("one", [PROGRAMS / "connection-node", "--config", file], secrets | wait)
        start("two", [PROGRAMS / "connection-node", "--config", file], secrets | wait | second)
        start("endpoint", [PROGRAMS / "endpoint-node", "--config", file], secrets | wait)
        for port in [8080, 8090, 8081]:
            until(f"port {port} is ready", 60, lambda: get(f"http://{HOST}:{port}/ready")[0] == 200)
        for port in [8080, 8090]:
            device = stack.enter_context(Device(f"ws://{HOST}:{port}/", folder / f"listen-{port}.log"))
            assert device.send(f"http://{HOST}:8081", 1) == 200, port
        # Both nodes are called at addresses that other hosts know.
        metrics = get("http://127.0.0.1:8084/metrics")[1]
        called = set(re.findall(r'^beckon_endpoint_node_streams\{.*node="([^"]+)"', metrics, re.MULTILINE))
        assert called == {f"{HOST}:8082", f"{HOST}:8092"}, called


if __name__ == "__main__":
    main()
