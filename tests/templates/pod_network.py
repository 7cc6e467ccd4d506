"""One pod of each tier of the chart, in a network of their own, where they listen as the manifests say. test_addresses.py starts this
in a namespace for networks.

    python pod_network.py ipv6|ipv4|no-ipv6
"""

import contextlib
import ctypes
import platform
import struct
import subprocess
import sys
from pathlib import Path

from cluster import Cluster, get, until
from device import Device
from folders import DEPLOY, PROGRAMS
from manifests import helm

# Of the system call `socket`.
SOCKET = {"x86_64": 41, "aarch64": 198}
AF_INET6, EAFNOSUPPORT = 10, 97
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


class Network:
    """Pods have their addresses, and no others."""

    def __init__(self, kind, pods=2):
        self.pods = "fd00:80::" if kind == "ipv6" else "10.80.0."
        self.redis = f"{self.pods}99"
        self.before = without_ipv6 if kind == "no-ipv6" else None
        ip("link", "set", "lo", "up")
        if kind == "ipv6":
            ip("address", "delete", "127.0.0.1/8", "dev", "lo")
        else:
            setting("all/disable_ipv6", 1)
            setting("bindv6only", 1)
        for number in [*range(1, pods + 1), 99]:
            ip("address", "add", f"{self.pods}{number}/{128 if kind == 'ipv6' else 32}", "dev", "lo")

    @staticmethod
    def address(text, ip):
        return text


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def setting(name, value):
    Path(f"/proc/sys/net/ipv6/{'conf/' if '/' in name else ''}{name}").write_text(f"{value}\n")


def without_ipv6():
    """Lets this process have no sockets of IPv6, like a kernel that was started with ipv6.disable=1."""
    load, equal, end = 0x20, 0x15, 0x06
    lines = [
        (load, 0, 0, 0),
        (equal, 0, 3, SOCKET[platform.machine()]),
        (load, 0, 0, 16),
        (equal, 0, 1, AF_INET6),
        (end, 0, 0, 0x00050000 | EAFNOSUPPORT),
        (end, 0, 0, 0x7FFF0000),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(lines), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def main(kind):
    network = Network(kind)
    objects = helm({"probe": {"url": "ws://devices.example.net/"}})
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(Cluster(objects, {}, network))
        cluster.start_redis()
        node, sender = cluster.add("StatefulSet", "connection-node"), cluster.add("Deployment", "endpoint-node")
        for pod in [node, sender]:
            until(f"{pod.name} is ready", 60, lambda: pod.probe("readinessProbe"))
            assert pod.probe("livenessProbe"), pod.name
        devices = f"ws://{node.host}:{node.port('ws')}/"
        device = stack.enter_context(Device(devices, cluster.path / "listen.log"))
        # 200: the endpoint-node has reached the connection-node at the address that it advertises.
        assert device.send(f"http://{sender.host}:{sender.port('http')}", 1) == 200
        # What an operator runs in a pod, and what the engine of a container may.
        for command in [[PROGRAMS / "beckon", "shed", "--count", "0"], [DEPLOY / "health-check", str(node.port("admin"))]]:
            subprocess.run(command, env=node.given | {"PATH": "/usr/bin:/bin"}, preexec_fn=network.before, check=True)
        template = cluster.objects["Deployment", "beckon-probe"]["spec"]["template"]["spec"]
        (container,) = template["containers"]
        program, *arguments = [devices if word.startswith("ws://") else word for word in container["args"]]
        with open(cluster.path / "probe.log", "w") as log:
            probe = subprocess.Popen([PROGRAMS / program, *arguments], stdout=log, stderr=log, preexec_fn=network.before)
        stack.callback(probe.wait)
        stack.callback(probe.kill)
        (port,) = [each["containerPort"] for each in container["ports"]]
        until("the probe is alive", 30, lambda: get(f"http://{node.host}:{port}/live")[0] == 200)


if __name__ == "__main__":
    main(sys.argv[1])
