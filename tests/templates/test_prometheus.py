"""The alerts, and the names of metrics that alerts and dashboards use."""

import json
import re
import subprocess
import sys
import unittest
from pathlib import Path

import yaml
from folders import DEPLOY, PROMTOOL, ROOT
from test_addresses import ALONE, HAS_NAMESPACES

RULES = DEPLOY / "prometheus/rules.yaml"
MONITORING = (ROOT / "docs/monitoring.md").read_text()


def alerts():
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return group["rules"]


def dashboards():
    return {path.name: json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana").glob("*.json"))}


def queries():
    """All queries of the dashboards, with the file and the panel."""
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", target["expr"]


class Prometheus(unittest.TestCase):
    def test_prometheus_accepts_the_rules(self):
        subprocess.run([PROMTOOL, "check", "rules", RULES], check=True, stdout=subprocess.DEVNULL)

    @unittest.skipUnless(HAS_NAMESPACES, "THE SCRAPE CONFIGURATION IS NOT CHECKED: namespaces for networks cannot be made here")
    def test_the_configuration_scrapes_nodes_on_other_hosts(self):
        program = Path(__file__).with_name("scraped.py")
        done = subprocess.run([*ALONE, sys.executable, program], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_each_alert_fires_when_it_should_and_not_otherwise(self):
        tests = DEPLOY / "prometheus/rules_test.yaml"
        subprocess.run([PROMTOOL, "test", "rules", tests], check=True, stdout=subprocess.DEVNULL)
        expected = yaml.safe_load(tests.read_text())["tests"]
        tested = {
            case["alertname"] for test in expected for case in test["alert_rule_test"] if case["exp_alerts"]
        }
        self.assertEqual(tested, {alert["alert"] for alert in alerts()})
        # Of the cluster that is well, none.
        silent = {case["alertname"] for case in expected[-1]["alert_rule_test"] if not case["exp_alerts"]}
        self.assertEqual(silent, tested)

    def test_each_alert_has_a_section_that_says_what_to_do(self):
        sections = re.findall(r"^### (\w+)$", MONITORING, re.MULTILINE)
        self.assertEqual(sections, [alert["alert"] for alert in alerts()])
        for alert in alerts():
            self.assertEqual(
                alert["annotations"]["runbook"], f"docs/monitoring.md#{alert['alert'].lower()}"
            )

    def test_alerts_and_dashboards_use_documented_metrics_and_leave_none_out(self):
        rows = (ROOT / "docs/metrics.md").read_text().splitlines()
        documented = {match[1]: match[2] for row in rows if (match := re.match(r"\| `(\w+)` \| (\w+) ", row))}
        known = set()
        for name, kind in documented.items():
            known |= {name + end for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
        drawn = set()
        for place, query in [*queries(), *((alert["alert"], alert["expr"]) for alert in alerts())]:
            used = set(re.findall(r"\b(?:beckon|process)_\w+", query))
            self.assertLessEqual(used, known, place)
            drawn |= used
        # The embedded store's are for a program that has no cluster.
        left_out = {
            name
            for name, kind in documented.items()
            if name.startswith("beckon_")
            and not name.startswith("beckon_store_")
            and name + ("_bucket" if kind == "histogram" else "") not in drawn
        }
        self.assertEqual(left_out, set())

    def test_the_answers_to_the_questions_are_panels(self):
        (table,) = re.findall(r"## Questions.*?\n(\|.*?)\n\n", MONITORING, re.DOTALL)
        panels = {panel["title"] for dashboard in dashboards().values() for panel in dashboard["panels"]}
        named = set(re.findall(r"\*([^*]+)\*", table))
        self.assertEqual(named - panels, set())
        self.assertEqual(len(table.splitlines()), 2 + 12)


if __name__ == "__main__":
    unittest.main()
