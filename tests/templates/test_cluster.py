"""The chart, started as processes: every query of the dashboards finds something under load, an alert fires when it should,
and both tiers grow and shrink by the signals that the autoscalers name, without a failed request."""

import contextlib
import math
import unittest

import yaml
from cluster import Cluster, assert_nothing_was_lost, until
from folders import DEPLOY
from manifests import helm
from test_prometheus import queries

VALUES = {
    "serviceMonitor": True,
    "settings": {
        "BECKON_ENDPOINT_URL": "http://127.80.0.200:8081",
        "BECKON_TRUSTED_PROXIES": "10.0.0.0/8",
        "BECKON_LOG_FORMAT": "json",
    },
    "connectionNode": {"replicas": 2},
    "endpointNode": {"replicas": 2},
    "drainDelay": 1,
}

# One hundredth of what a node of the chart takes, and the same share of it for the autoscaler.
SMALL = {"BECKON_MAX_CONNECTIONS": "1000"}


def adapted(metric, namespace="beckon"):
    """The query that prometheus-adapter makes of its configuration."""
    rules = yaml.safe_load((DEPLOY / "kubernetes/prometheus-adapter.yaml").read_text())["rules"]["custom"]
    (rule,) = [rule for rule in rules if rule["name"]["as"] == metric]
    query = rule["metricsQuery"].replace("<<.Series>>", rule["seriesQuery"].split("{")[0])
    return query.replace("<<.GroupBy>>", "pod").replace("<<.LabelMatchers>>", f'namespace="{namespace}"')


@contextlib.contextmanager
def started():
    """The chart, with small connection-nodes."""
    with Cluster(helm(VALUES), {"connection-node": SMALL}) as cluster:
        cluster.start()
        yield cluster


class Processes(unittest.TestCase):
    maxDiff = None

    def test_every_query_of_the_dashboards_finds_something_under_load(self):
        with started() as cluster:
            loads = [
                cluster.load(dialect, dialect=dialect, clients=100, rate=40, send_for="40s", churn=0.05)
                for dialect in ("simplepush", "webpush")
            ]
            self.assertTrue(all(pod.probe("livenessProbe") for pod in cluster.all()))
            until("load", 60, lambda: cluster.query("sum(beckon_connections) >= 200"))

            probe = cluster.probe()
            # The nodes of the chart leave TLS to what is before them, so they have no handshakes and no certificates; and
            # their store is not embedded.
            left = {each for each in queries() if "beckon_tls_" not in each[1] and "embedded store" not in each[0]}

            def all_have_answered():
                for place, query in list(left):
                    text = query.replace("$__rate_interval", "15s").replace("$instance", ".*")
                    if any(not math.isnan(value) for _, value in cluster.query(text)):
                        left.remove((place, query))
                return not left

            with contextlib.suppress(TimeoutError):
                until("every query finds something", 60, all_have_answered)
            self.assertEqual(left, set())
            for load in loads:
                self.assertEqual(load.wait(90), 0, cluster.said("webpush"))
            self.assertEqual(cluster.firing() - {"BeckonConnectionsLost"}, set())
            self.assertIsNone(probe.poll(), cluster.said("probe"))

    def test_an_alert_fires_when_a_node_is_cut_off_from_its_store(self):
        with started() as cluster:
            until("nodes are scraped", 30, lambda: cluster.query('count(up{job=~"beckon.*"} == 1) == 4'))
            redis, *_ = cluster.others
            cluster.probe()
            until("the probe succeeds", 30, lambda: cluster.query("sum(beckon_probe_success) == 2"))
            redis.kill()
            until("the alert", 60, lambda: "BeckonLeaseOld" in cluster.firing())
            until("the alert of the probe", 120, lambda: "BeckonProbeFails" in cluster.firing())
            self.assertTrue(all(pod.probe("livenessProbe") for pod in cluster.all()), "that helps nobody")

    def test_the_connection_tier_grows_and_shrinks_by_its_open_sockets(self):
        chart = VALUES | {"connectionNode": {"replicas": 2, "autoscaling": {"enabled": True}}}
        with started() as cluster:
            scaler = autoscaler(chart, "beckon-connection-node")
            (metric,) = scaler["metrics"]
            target = int(metric["pods"]["target"]["averageValue"]) / 100
            query = adapted(metric["pods"]["metric"]["name"])

            def desired():
                values = [value for _, value in cluster.query(query)]
                wanted = math.ceil(sum(values) / target)
                return min(max(wanted, 1), scaler["maxReplicas"]) if values else 0

            devices = cluster.load("devices", clients=1800, rate=100, send_for="40s", grace="15s")
            until("the signal asks for a third node", 60, lambda: desired() == 3)
            added = cluster.add("StatefulSet", "connection-node")
            until("it is ready", 30, lambda: added.probe("readinessProbe"))
            more = cluster.load("more", ws=f"ws://{added.ip}:{added.port('ws')}/", clients=50, rate=20, send_for="5s")
            self.assertEqual(more.wait(60), 0, cluster.said("more"))
            until("the signal asks for three or fewer", 60, lambda: desired() <= 3)
            seconds = cluster.remove("connection-node")
            self.assertLess(seconds, added.template["terminationGracePeriodSeconds"])
            self.assertEqual(devices.wait(120), 0, cluster.said("devices"))
            reports = [cluster.report(name) for name in ["devices", "more"]]
            assert_nothing_was_lost(self, reports, cluster.failed_steps())

    def test_the_endpoint_tier_grows_and_shrinks_by_its_requests_without_a_failed_one(self):
        chart = VALUES | {"endpointNode": {"replicas": 2, "autoscaling": {"enabled": True}}}
        with started() as cluster:
            scaler = autoscaler(chart, "beckon-endpoint-node")
            metric = scaler["metrics"][0]["pods"]
            target = int(metric["target"]["averageValue"]) / 100
            query = adapted(metric["metric"]["name"])

            def desired():
                wanted = math.ceil(sum(value for _, value in cluster.query(query)) / target)
                return min(max(wanted, scaler["minReplicas"]), scaler["maxReplicas"])

            load = cluster.load("load", clients=100, rate=50, send_for="100s")
            until("the signal asks for a third node", 90, lambda: desired() == 3)
            added = cluster.add("Deployment", "endpoint-node")
            until("it is ready", 30, lambda: added.probe("readinessProbe"))
            more = cluster.load("more", http=f"http://{added.ip}:{added.port('http')}", clients=20, rate=5, send_for="5s")
            self.assertEqual(more.wait(60), 0, cluster.said("more"))
            # A load balancer would stop using the node that leaves; the load never used it.
            self.assertLess(cluster.remove("endpoint-node"), added.template["terminationGracePeriodSeconds"])
            self.assertEqual(load.wait(150), 0, cluster.said("load"))
            reports = [cluster.report(name) for name in ["load", "more"]]
            assert_nothing_was_lost(self, reports, cluster.failed_steps())
            until("the signal asks for no more than there have to be", 120, lambda: desired() == scaler["minReplicas"])


def autoscaler(values, name):
    (found,) = [
        each["spec"]
        for each in helm(values)
        if each["kind"] == "HorizontalPodAutoscaler" and each["metadata"]["name"] == name
    ]
    return found


if __name__ == "__main__":
    unittest.main()
