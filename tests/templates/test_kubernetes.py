"""The manifests: whether they are valid, and whether the chart and the overlays say the same."""

import copy
import re
import subprocess
import textwrap
import unittest

import kubernetes_validate
import yaml
from folders import DEPLOY, PROGRAMS, ROOT
from helm_python import chart
from manifests import HAS_KUSTOMIZE, helm, kustomized

VERSIONS = ["1.27", "1.31", "1.34"]
EXAMPLE = r"^<!-- run by: tests/templates/test_kubernetes.py -->\n *```yaml\n(.*?)^ *```$"
CHART = DEPLOY / "helm/beckon"
SCALED = {
    "connectionNode": {"autoscaling": {"enabled": True}},
    "endpointNode": {"autoscaling": {"enabled": True}},
    "serviceMonitor": True,
    "probe": {"url": "wss://devices.example.net/"},
}


def comparable(objects):
    """By kind and name, without what only one of the two ways adds."""
    found = {}
    for each in copy.deepcopy(objects):
        metadata = each["metadata"]
        metadata.pop("namespace", None)
        metadata["name"] = re.sub(r"^(beckon-settings)-\w{10}$", r"\1", metadata["name"])
        if (pod := each.get("spec", {}).get("template")) is not None:
            pod["metadata"].pop("annotations", None)
            for container in pod["spec"]["containers"]:
                for source in container.get("envFrom", []):
                    if "configMapRef" in source:
                        source["configMapRef"]["name"] = "beckon-settings"
        found[each["kind"], metadata["name"]] = each
    return found


class Kubernetes(unittest.TestCase):
    maxDiff = None

    def check(self, objects):
        for each in objects:
            # Of operators, whose schemas are not Kubernetes' own.
            if each["apiVersion"].startswith(("monitoring.coreos.com/", "cert-manager.io/")):
                continue
            for version in VERSIONS:
                with self.subTest(kind=each["kind"], name=each["metadata"]["name"], version=version):
                    kubernetes_validate.validate(each, version, strict=True)

    @unittest.skipUnless(HAS_KUSTOMIZE, "THE KUSTOMIZATIONS ARE NOT CHECKED: neither kubectl nor kustomize is here")
    def test_the_overlays_are_valid(self):
        for folder in ["base", "overlays/minimal", "overlays/production", "probe"]:
            with self.subTest(folder):
                self.check(kustomized(folder))

    def test_the_chart_is_valid(self):
        report = chart.lint(str(CHART), strict=True)
        self.assertEqual(report["errors"], [])
        for values in [{}, SCALED]:
            self.check(helm(values))

    def test_the_examples_of_the_document_are_valid(self):
        text = (ROOT / "docs/kubernetes.md").read_text()
        (values,), objects, (container,) = [
            list(yaml.safe_load_all(textwrap.dedent(block)))
            for block in re.findall(EXAMPLE, text, re.MULTILINE | re.DOTALL)
        ]
        made = helm(values)
        self.check(made)
        self.check(objects)
        (node,) = [each for each in made if each["kind"] == "StatefulSet"]
        (made_container,) = node["spec"]["template"]["spec"]["containers"]
        for variable in container["env"]:
            self.assertIn(variable, made_container["env"])
        # The way in leads to services and ports that the chart has.
        ports = {
            (each["metadata"]["name"], port["name"]): each
            for each in made
            if each["kind"] == "Service"
            for port in each["spec"]["ports"]
        }
        (ingress,) = [each for each in objects if each["kind"] == "Ingress"]
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                self.assertIn((service["name"], service["port"]["name"]), ports)

    def test_the_probe_is_valid_and_starts(self):
        named = [each for each in helm(SCALED) if each["metadata"]["name"] == "beckon-probe"]
        (probe,) = [each for each in named if each["kind"] == "Deployment"]
        (container,) = probe["spec"]["template"]["spec"]["containers"]
        program, *arguments = container["args"]
        # Nobody answers, so it says which part failed.
        arguments[1] = "ws://127.0.0.1:1/"
        probe = subprocess.run([PROGRAMS / program, *arguments, "--once"], capture_output=True, text=True)
        self.assertEqual(probe.returncode, 69, probe.stderr)
        self.assertIn("webpush: connect failed", probe.stdout)

    def test_endpoint_nodes_do_not_get_the_key_of_the_uaids(self):
        (node,) = [each for each in helm({}) if each["kind"] == "Deployment"]
        (container,) = node["spec"]["template"]["spec"]["containers"]
        self.assertFalse(any("secretRef" in source for source in container["envFrom"]))
        names = {variable["name"] for variable in container["env"]}
        self.assertIn("BECKON_TOKEN_KEYS", names)
        self.assertNotIn("BECKON_UAID_KEY", names)

    def test_the_chart_refuses_values_that_it_does_not_know(self):
        for values in [
            {"connectionNodes": {"replicas": 3}},
            {"connectionNode": {"replicas": 0}},
            {"settings": {"BECKON_ENDPOINT_URL": 1}},
            {"settings": {"endpoint_url": "https://push.example.net"}},
        ]:
            with self.subTest(values), self.assertRaises(Exception):
                helm(values)

    @unittest.skipUnless(HAS_KUSTOMIZE, "THE KUSTOMIZATIONS ARE NOT CHECKED: neither kubectl nor kustomize is here")
    def test_the_chart_and_the_overlays_are_the_same(self):
        for folder, values in [("base", {}), ("overlays/production", SCALED)]:
            with self.subTest(folder):
                expected = comparable([each for each in kustomized(folder) if each["kind"] != "Namespace"])
                self.assertEqual(comparable(helm(values)), expected)

    def test_every_setting_is_one_that_the_program_has(self):
        rows = (ROOT / "docs/configuration.md").read_text().splitlines()
        columns = {}
        for row in rows:
            if match := re.match(r"\| `(\w+)` \|", row):
                cells = row.split("|")[1:-1]
                if len(cells) == 5:
                    columns[match[1]] = {"connection-node": cells[2], "endpoint-node": cells[3]}
        for each in helm(SCALED):
            for container in each.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
                for variable in container.get("env", []):
                    name = variable["name"].removeprefix("BECKON_").lower()
                    if name != "pod_ip":
                        self.assertIn(name, columns)
                        self.assertNotEqual(columns[name][container["name"]].strip(), "", variable)
            if each["kind"] == "ConfigMap":
                for name in each["data"]:
                    self.assertIn(name.removeprefix("BECKON_").lower(), columns)

    def test_the_grace_period_is_long_enough_for_a_drain(self):
        for connections, rate, delay in [(100_000, 1000, 10), (1_000_000, 2000, 30)]:
            values = {
                "connectionNode": {"maxConnections": connections, "drainRate": rate},
                "drainDelay": delay,
            }
            grace = {
                each["metadata"]["name"]: each["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
                for each in helm(values)
                if each["kind"] in ("StatefulSet", "Deployment")
            }
            # docs/operations.md, "Starting, stopping, scaling".
            self.assertGreaterEqual(grace["beckon-connection-node"], delay + connections // rate + 30)
            self.assertGreaterEqual(grace["beckon-endpoint-node"], delay + 30)

    def test_the_autoscalers_name_metrics_that_the_adapter_makes(self):
        adapter = yaml.safe_load((DEPLOY / "kubernetes/prometheus-adapter.yaml").read_text())
        made = {rule["name"]["as"] for rule in adapter["rules"]["custom"]}
        named = {
            metric["pods"]["metric"]["name"]
            for each in helm(SCALED)
            if each["kind"] == "HorizontalPodAutoscaler"
            for metric in each["spec"]["metrics"]
            if metric["type"] == "Pods"
        }
        self.assertEqual(named, made)


if __name__ == "__main__":
    unittest.main()
