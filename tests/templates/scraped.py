"""The shipped configuration of Prometheus, with nodes whose addresses are not those of loopback: /metrics is not for everybody there.
test_prometheus.py starts this in a namespace for networks.
"""

import contextlib

import yaml
from cluster import PROBE_ADDRESS, PROMETHEUS_ADDRESS, Cluster, get, until
from folders import DEPLOY, PROMETHEUS
from manifests import helm
from pod_network import Network

CONFIGURATION = DEPLOY / "prometheus/prometheus.yaml"
TOKEN_FILE = "/etc/prometheus/beckon-metrics-token"


def configured(cluster, token):
    """A copy of the configuration, with addresses in place of the names, and the token in another file."""
    text = CONFIGURATION.read_text()
    places = {pod.name.removeprefix("beckon-"): pod for pod in cluster.all()}
    for name, pod in places.items():
        tier, number = name.rsplit("-", 1)
        listed = f"{tier}-{int(number) + 1}:{pod.port('admin')}"
        assert listed in text, listed
        text = text.replace(listed, f"{pod.host}:{pod.port('admin')}")
    text = text.replace("probe-1:8085", PROBE_ADDRESS).replace("15s", "1s")
    secret = cluster.path / "metrics-token"
    secret.write_text(token)
    text = text.replace(TOKEN_FILE, str(secret)).replace("rules.yaml", str(DEPLOY / "prometheus/rules.yaml"))
    path = cluster.path / "prometheus.yaml"
    path.write_text(text)
    return path


def main():
    network = Network("ipv4", pods=4)
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(Cluster(helm({}), {}, network))
        cluster.start_redis()
        for kind, tier in 2 * [("StatefulSet", "connection-node"), ("Deployment", "endpoint-node")]:
            cluster.add(kind, tier)
        for pod in cluster.all():
            until(f"{pod.name} is ready", 60, lambda: pod.probe("readinessProbe"))
            # As from any other host: without the token there is nothing to see.
            assert get(f"http://{pod.host}:{pod.port('admin')}/metrics")[0] == 401, pod.name
        cluster.probe()
        path = configured(cluster, cluster.objects["Secret", "beckon"]["stringData"]["BECKON_METRICS_TOKEN"])
        storage = f"--storage.tsdb.path={cluster.path / 'prometheus'}"
        cluster.start_other("prometheus", [PROMETHEUS, f"--config.file={path}", storage, f"--web.listen-address={PROMETHEUS_ADDRESS}"])
        until("prometheus", 30, lambda: get(f"http://{PROMETHEUS_ADDRESS}/-/ready")[0] == 200)
        jobs = yaml.safe_load(path.read_text())["scrape_configs"]
        targets = sum(len(each["targets"]) for job in jobs for each in job["static_configs"])
        up = lambda: [labels["instance"] for labels, value in cluster.query("up") if value == 1]
        until(f"{targets} targets are up", 30, lambda: len(up()) == targets)


if __name__ == "__main__":
    main()
