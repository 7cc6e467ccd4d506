"""The address of a collector that the templates take: nodes that are started with what they make of it send their spans there."""

import contextlib
import secrets
import shutil
import tempfile
import unittest
from pathlib import Path

from aws import NETWORK, Keys, Machine, Template
from cluster import Cluster, get, until
from collector import Collector
from device import Device
from ecs import Task
from folders import DEPLOY
from manifests import HAS_KUSTOMIZE, helm, kustomized

ADDRESS = "127.80.3.1:4317"
URL = f"http://{ADDRESS}"


class Traces(unittest.TestCase):
    def expect_a_trace(self, collector, ws, http, log):
        """A sender that asks for it gets a trace, with spans of both tiers."""
        trace, span = secrets.token_bytes(16), secrets.token_bytes(8)
        with Device(ws, log) as device:
            status = device.send(http, 1, traceparent=f"00-{trace.hex()}-{span.hex()}-01")
            self.assertEqual(status, 200)
        wanted = {("endpoint-node", "PUT /update/{token}"), ("endpoint-node", "deliver"), ("connection-node", "receive")}
        until("the spans of both tiers are there", 30, lambda: wanted <= collector.spans(trace).keys())
        self.assertEqual(collector.spans(trace)["endpoint-node", "PUT /update/{token}"].parent_span_id, span)

    def expect_a_trace_of(self, objects):
        with Collector(ADDRESS) as collector, Cluster(objects, {}) as cluster:
            cluster.start_redis()
            node, sender = cluster.add("StatefulSet", "connection-node"), cluster.add("Deployment", "endpoint-node")
            for pod in [node, sender]:
                until(f"{pod.name} is ready", 60, lambda: pod.probe("readinessProbe"))
            way = f"ws://{node.ip}:{node.port('ws')}/", f"http://{sender.ip}:{sender.port('http')}"
            self.expect_a_trace(collector, *way, cluster.path / "listen.log")

    def test_the_setting_of_the_chart(self):
        self.expect_a_trace_of(helm({"settings": {"BECKON_OTLP_ENDPOINT": URL}}))

    @unittest.skipUnless(HAS_KUSTOMIZE, "THE KUSTOMIZATION IS NOT CHECKED: neither kubectl nor kustomize is here")
    def test_the_line_of_the_kustomization(self):
        commented = "# - BECKON_OTLP_ENDPOINT=http://collector.observability:4317"
        with tempfile.TemporaryDirectory(prefix="beckon-templates-") as folder:
            copy = Path(shutil.copytree(DEPLOY / "kubernetes", Path(folder) / "kubernetes"))
            file = copy / "base/kustomization.yaml"
            self.assertIn(commented, file.read_text())
            file.write_text(file.read_text().replace(commented, f"- BECKON_OTLP_ENDPOINT={URL}"))
            self.expect_a_trace_of(kustomized(copy / "base"))

    def test_the_parameter_of_the_stack(self):
        template = Template()
        _, files = template.scripts(OtlpEndpoint=URL)
        with contextlib.ExitStack() as stack:
            collector, keys = stack.enter_context(Collector(ADDRESS)), stack.enter_context(Keys())
            machine = stack.enter_context(Machine(files, keys))
            machine.start_node()
            task = Task(template, keys, f"{NETWORK}20", machine.path / "task.log", OtlpEndpoint=URL)
            stack.enter_context(task)
            for url in [f"http://{machine.ip}:8080", f"http://{task.ip}:8081"]:
                until(f"{url} is ready", 60, lambda: get(f"{url}/ready")[0] == 200)
            way = f"ws://{machine.ip}:8080/", f"http://{task.ip}:8081"
            self.expect_a_trace(collector, *way, machine.path / "listen.log")


if __name__ == "__main__":
    unittest.main()
