"""A cluster whose nodes are started as the manifests say: their commands, variables, probes and grace periods.

A pod is a process with a loopback address of its own. Only two things differ from what Kubernetes would do: a node listens
on that address instead of on [::], because all pods share one network, and limits of memory and CPU do not apply.
"""

import base64
import json
import os
import re
import secrets
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml
from folders import DEPLOY, PROGRAMS, PROMETHEUS

PROMETHEUS_ADDRESS = "127.80.1.1:9090"
PROBE_ADDRESS = "127.80.1.3:8085"


def until(what, seconds, check):
    """Waits until `check` returns something true, and returns it."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.1)
    return found


def get(url, seconds=5, headers={}):
    """The status and the body of an answer; 0 if there is none."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=seconds) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


# Of the requests that application servers send, so many may get 503 from an endpoint-node whose store does not answer in time, as on a
# machine that other work has loaded. They send those again later.
SHARE_OF_503 = 0.02


def steps_failed(metrics):
    """How many steps of the store an endpoint-node has given up because the store did not do them. One that was closed already, while
    requests still came, is a fault of the node, and not counted."""
    counts = re.findall(r'^beckon_endpoint_steps_failed_total\{cause="(\w+)"\} (\S+)$', metrics, re.MULTILINE)
    return sum(float(count) for cause, count in counts if cause != "closed")


def assert_nothing_was_lost(test, reports, failed_steps):
    """All that loads have sent was accepted, perhaps at the second try, and what was accepted has arrived. `failed_steps`: how many 503
    the store is the reason for."""
    sends = [report["send"] for report in reports]
    for send in sends:
        refused = {status: count for status, count in send["answers"].items() if not (status.startswith("2") or status == "503")}
        test.assertGreater(send["sent"], 0)
        test.assertEqual((refused, send["refused"], send["unanswered"], send["lost"]), ({}, 0, 0, 0))
    tried_again = sum(send["answers"].get("503", 0) for send in sends)
    test.assertLessEqual(tried_again, failed_steps, "a 503 that the store is not the reason for")
    test.assertLessEqual(tried_again, SHARE_OF_503 * sum(send["sent"] for send in sends))


class Shared:
    """The network of this machine, in which all pods are: loopback addresses."""

    pods, redis, before = "127.80.0.", "127.80.1.2", None

    @staticmethod
    def address(text, ip):
        """What a pod listens on."""
        return text.replace("[::]:", f"{ip}:")


class Pod:
    """A node, started from the template of its StatefulSet or Deployment."""

    def __init__(self, name, ip, template, objects, changes, log, network):
        self.name, self.ip, self.host = name, ip, f"[{ip}]" if ":" in ip else ip
        self.template = template["spec"]
        (self.container,) = self.template["containers"]
        variables = self.variables(objects) | changes
        self.given = {name: network.address(value, ip) for name, value in variables.items()}
        with open(log, "w") as stderr:
            self.process = subprocess.Popen(
                [PROGRAMS / self.container["args"][0], *self.container["args"][1:]],
                env=self.given,
                stderr=stderr,
                stdin=subprocess.DEVNULL,
                preexec_fn=network.before,
            )

    def variables(self, objects):
        variables = {}
        for source in self.container["envFrom"]:
            if name := source.get("configMapRef", {}).get("name"):
                variables |= objects["ConfigMap", name]["data"]
            if name := source.get("secretRef", {}).get("name"):
                variables |= objects["Secret", name]["stringData"]
        for variable in self.container["env"]:
            value = variable.get("value")
            if value is None:
                value = self.value_from(variable["valueFrom"], objects)
            variables[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda match: variables[match[1]], value)
        return variables

    def value_from(self, source, objects):
        if (key := source.get("secretKeyRef")) is not None:
            return objects["Secret", key["name"]]["stringData"][key["key"]]
        return {"status.podIP": self.ip, "metadata.name": self.name}[source["fieldRef"]["fieldPath"]]

    def port(self, name):
        (port,) = [port["containerPort"] for port in self.container["ports"] if port["name"] == name]
        return port

    def probe(self, kind):
        """Whether a probe succeeds."""
        probe = self.container[kind]
        url = f"http://{self.host}:{self.port(probe['httpGet']['port'])}{probe['httpGet']['path']}"
        status, _ = get(url, probe["timeoutSeconds"])
        return 200 <= status < 400

    def stop(self):
        """SIGTERM, as Kubernetes sends it. Returns the seconds until it has ended by itself."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(self.template["terminationGracePeriodSeconds"])
        if status != 0:
            raise AssertionError(f"{self.name} has ended with {status}")
        return time.monotonic() - began

    def kill(self):
        self.process.kill()
        self.process.wait()


class Cluster:
    """Objects of Kubernetes as processes, and a Redis. `changes` has variables that are different here, by tier."""

    def __init__(self, objects, changes, network=Shared):
        self.folder = tempfile.TemporaryDirectory(prefix="beckon-templates-")
        self.path = Path(self.folder.name)
        self.changes, self.network = changes, network
        key = lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        redis = f"[{network.redis}]" if ":" in network.redis else network.redis
        secret = {
            "kind": "Secret",
            "metadata": {"name": "beckon"},
            # What docs/kubernetes.md tells people to put into it.
            "stringData": {
                "BECKON_STORE": f"redis://{redis}:6379",
                "BECKON_TOKEN_KEYS": key(),
                "BECKON_UAID_KEY": key(),
                "BECKON_CLUSTER_SECRET": key(),
                "BECKON_ADMIN_TOKEN": key(),
                "BECKON_METRICS_TOKEN": key(),
            },
        }
        objects = [*objects, secret]
        self.objects = {(each["kind"], each["metadata"]["name"]): each for each in objects}
        self.pods, self.others, self.numbers = {}, [], 0

    def __enter__(self):
        return self

    def start(self):
        """Starts as many pods as there are to be, and a Prometheus with the rules and the scrape targets of the services."""
        self.start_redis()
        for kind, tier in [("StatefulSet", "connection-node"), ("Deployment", "endpoint-node")]:
            for _ in range(self.objects[kind, f"beckon-{tier}"]["spec"]["replicas"]):
                self.add(kind, tier)
        self.start_prometheus()
        for pod in self.all():
            until(f"{pod.name} is ready", 60, lambda: pod.probe("readinessProbe"))

    def start_redis(self):
        redis = ["redis-server", "--bind", self.network.redis, "--port", "6379", "--protected-mode", "no", "--save", "", "--dir", self.path]
        self.start_other("redis", redis)
        until("redis", 20, lambda: self.answers(self.network.redis, 6379))

    def __exit__(self, *_):
        for pod in self.all():
            pod.kill()
        for process in self.others:
            process.kill()
            process.wait()
        self.folder.cleanup()

    @staticmethod
    def answers(host, port):
        import socket

        try:
            socket.create_connection((host, port), 1).close()
            return True
        except OSError:
            return False

    def all(self):
        return [pod for pods in self.pods.values() for pod in pods]

    def add(self, kind, tier):
        """One more pod of a tier, with the next number."""
        pods = self.pods.setdefault(tier, [])
        self.numbers += 1
        name = f"beckon-{tier}-{len(pods)}"
        template = self.objects[kind, f"beckon-{tier}"]["spec"]["template"]
        ip = f"{self.network.pods}{self.numbers}"
        log = self.path / f"{name}-{self.numbers}.log"
        pods.append(Pod(name, ip, template, self.objects, self.changes.get(tier, {}), log, self.network))
        self.write_targets()
        return pods[-1]

    def remove(self, tier):
        """The last pod of a tier, as a StatefulSet shrinks. Returns the seconds that it took to end."""
        pod = self.pods[tier][-1]
        seconds = pod.stop()
        self.pods[tier].pop()
        self.write_targets()
        pod.kill()
        return seconds

    def write_targets(self):
        """What the ServiceMonitor makes the operator tell Prometheus, if there is one."""
        if ("ServiceMonitor", "beckon") not in self.objects:
            return
        monitor = self.objects["ServiceMonitor", "beckon"]["spec"]
        (endpoint,) = monitor["endpoints"]
        relabelled = {each["targetLabel"]: each["replacement"] for each in endpoint["relabelings"]}
        targets = []
        for (kind, _), service in self.objects.items():
            labels = service["metadata"].get("labels", {})
            if kind != "Service" or not monitor["selector"]["matchLabels"].items() <= labels.items():
                continue
            for pod in self.pods.get(service["spec"]["selector"]["app.kubernetes.io/component"], []):
                targets.append(
                    {
                        "targets": [f"{pod.ip}:{pod.port(endpoint['port'])}"],
                        "labels": {"pod": pod.name, "namespace": "beckon", "instance": pod.name} | relabelled,
                    }
                )
        path = self.path / "targets.json"
        path.with_suffix(".new").write_text(json.dumps(targets))
        path.with_suffix(".new").rename(path)

    def metrics_token(self):
        """What the ServiceMonitor says that Prometheus presents."""
        (endpoint,) = self.objects["ServiceMonitor", "beckon"]["spec"]["endpoints"]
        credentials = endpoint["authorization"]["credentials"]
        return self.objects["Secret", credentials["name"]]["stringData"][credentials["key"]]

    def start_prometheus(self):
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(DEPLOY / "prometheus/rules.yaml")],
            "scrape_configs": [
                {
                    "job_name": "beckon",
                    "authorization": {"credentials": self.metrics_token()},
                    "file_sd_configs": [{"files": [str(self.path / "targets.json")], "refresh_interval": "1s"}],
                },
                {"job_name": "beckon-probe", "static_configs": [{"targets": [PROBE_ADDRESS]}]},
            ],
        }
        path = self.path / "prometheus.yaml"
        path.write_text(yaml.safe_dump(configuration))
        self.start_other(
            "prometheus",
            [
                PROMETHEUS,
                f"--config.file={path}",
                f"--storage.tsdb.path={self.path / 'prometheus'}",
                f"--web.listen-address={PROMETHEUS_ADDRESS}",
            ],
        )
        until("prometheus", 30, lambda: get(f"http://{PROMETHEUS_ADDRESS}/-/ready")[0] == 200)

    def probe(self):
        """A device and a sender that find out again and again whether the cluster works."""
        node, sender = self.pods["connection-node"][0], self.pods["endpoint-node"][0]
        way = [f"ws://{node.ip}:{node.port('ws')}/", "--endpoint-url", f"http://{sender.ip}:{sender.port('http')}"]
        flags = ["--interval", "1s", "--timeout", "5s", "--listen", PROBE_ADDRESS]
        return self.start_other("probe", [PROGRAMS / "beckon", "probe", *way, *flags])

    def start_other(self, name, command):
        with open(self.path / f"{name}.log", "w") as log:
            self.others.append(
                subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
            )
        return self.others[-1]

    def query(self, expression):
        """What Prometheus answers now: pairs of labels and numbers."""
        query = urllib.parse.urlencode({"query": expression})
        status, body = get(f"http://{PROMETHEUS_ADDRESS}/api/v1/query?{query}", 10)
        if status != 200:
            raise AssertionError(f"{expression}: {body}")
        result = json.loads(body)["data"]["result"]
        return [(sample["metric"], float(sample["value"][1])) for sample in result]

    def failed_steps(self):
        """As `steps_failed`, of all endpoint-nodes that there were."""
        query = 'sum(max_over_time(beckon_endpoint_steps_failed_total{cause!="closed"}[15m]))'
        return sum(value for _, value in self.query(query))

    def firing(self):
        """The names of the alerts that fire."""
        return {labels["alertname"] for labels, _ in self.query('ALERTS{alertstate="firing"}')}

    def load(self, name, **settings):
        """Devices on all connection-nodes that are there now, and application servers that send to them."""
        sockets = [f"ws://{pod.ip}:{pod.port('ws')}/" for pod in self.pods["connection-node"]]
        http = [f"http://{pod.ip}:{pod.port('http')}" for pod in self.pods["endpoint-node"]]
        settings = {"ws": ",".join(sockets), "http": ",".join(http), "json": self.path / f"{name}.json", "retry": "1s"} | settings
        flags = [word for key, value in settings.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        return self.start_other(name, [PROGRAMS / "loadgen", *flags])

    def report(self, name):
        return json.loads((self.path / f"{name}.json").read_text())

    def said(self, name):
        return os.linesep.join((self.path / f"{name}.log").read_text().splitlines()[-30:])
