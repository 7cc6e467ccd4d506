"""The CloudFormation template: linted, and its commands, variables and scripts run as processes."""

import contextlib
import json
import math
import re
import signal
import ssl
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml
from aws import NETWORK, TEMPLATE, Keys, Machine, Template
from cfnlint.api import lint_file
from cluster import assert_nothing_was_lost, get, steps_failed, until
from ecs import BALANCER, Balancer, Service, Task
from folders import DEPLOY, PROGRAMS, PROMTOOL, ROOT


class Aws(unittest.TestCase):
    def setUp(self):
        self.template = Template()

    def test_the_template_has_no_findings(self):
        self.assertEqual([str(finding) for finding in lint_file(TEMPLATE)], [])

    def test_only_what_has_to_reaches_what_listens(self):
        found = set()
        for name, resource in self.template.resources.items():
            properties = resource["Properties"] if "Properties" in resource else {}
            if resource["Type"] == "AWS::EC2::SecurityGroupIngress":
                rules, target = [properties], properties["GroupId"]["Ref"]
            elif resource["Type"] == "AWS::EC2::SecurityGroup":
                rules, target = properties["SecurityGroupIngress"], name
                # The condition HasPrometheus.
                rules = rules["Fn::If"][1] if isinstance(rules, dict) else rules
            else:
                continue
            for rule in rules:
                self.assertEqual(rule["FromPort"], rule["ToPort"])
                source = rule.get("CidrIp") or rule["SourceSecurityGroupId"]["Ref"]
                found.add((source, target, rule["FromPort"]))
        ports = {
            "ConnectionNodeGroup": {
                8080: {"SocketBalancerGroup"},
                8082: {"ConnectionNodeGroup", "EndpointNodeGroup"},
                8083: {"PrometheusGroup"},
            },
            "EndpointNodeGroup": {8081: {"EndpointBalancerGroup"}, 8084: {"PrometheusGroup"}},
            "ProbeGroup": {8085: {"PrometheusGroup"}},
            "StoreGroup": {6379: {"ConnectionNodeGroup", "EndpointNodeGroup"}},
            "EndpointBalancerGroup": {443: {"0.0.0.0/0"}},
            "SocketBalancerGroup": {443: {"0.0.0.0/0"}},
        }
        expected = {
            (source, target, port)
            for target, listens in ports.items()
            for port, sources in listens.items()
            for source in sources
        }
        self.assertEqual(found, expected)

    def test_whoever_reads_a_secret_may_and_nobody_else(self):
        text, _ = self.template.data()
        read = set(re.findall(r"\$\(secret \$\{(\w+)\}\)", text))
        self.assertEqual(self.may_read("ConnectionNodeRole"), read | {"TlsSecret"})
        (container,) = self.template.properties("EndpointTask")["ContainerDefinitions"]
        given = {secret["ValueFrom"]["Ref"] for secret in container["Secrets"]}
        self.assertEqual(self.may_read("EndpointExecutionRole"), given)
        self.assertNotIn("UaidKeySecretArn", given)

    def may_read(self, role):
        """The secrets that a role may read."""
        statements = [
            statement
            for policy in self.template.properties(role)["Policies"]
            for statement in policy["PolicyDocument"]["Statement"]
            if statement["Action"] == "secretsmanager:GetSecretValue"
        ]
        (statement,) = statements
        name = lambda arn: arn["Ref"] if "Ref" in arn else re.search(r"secret:\$\{(\w+)\}", arn["Fn::Sub"])[1]
        return {name(arn) for arn in statement["Resource"]}

    def test_the_scrape_configuration_of_the_document_finds_what_the_template_has(self):
        text = (ROOT / "docs/aws.md").read_text()
        (block,) = re.findall(r"^<!-- run by: tests/templates/test_aws.py -->\n```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        with tempfile.TemporaryDirectory(prefix="beckon-aws-") as folder:
            path = Path(folder) / "prometheus.yaml"
            path.write_text(block.replace("rules.yaml", str(DEPLOY / "prometheus/rules.yaml")))
            # It wants the file with the token to be there.
            token = Path(folder) / "metrics-token"
            token.write_text("a token")
            path.write_text(path.read_text().replace("/etc/prometheus/metrics-token", str(token)))
            subprocess.run([PROMTOOL, "check", "config", path], check=True, stdout=subprocess.DEVNULL)
        nodes, tasks, probe = yaml.safe_load(block)["scrape_configs"]
        (found,) = nodes["ec2_sd_configs"]
        (tag,) = self.template.properties("ConnectionNodes")["Tags"]
        self.assertEqual(found["filters"], [{"name": f"tag:{tag['Key']}", "values": [tag["Value"]]}])
        for job, service, group in [(tasks, "EndpointNames", "PrometheusReachesEndpointNodes"), (probe, "ProbeNames", None)]:
            (found,) = job["dns_sd_configs"]
            name = self.template.properties("Names")["Name"]["Fn::Sub"].replace("${AWS::StackName}", "beckon")
            self.assertEqual(found["names"], [f"{self.template.properties(service)['Name']}.{name}"])
            if group is not None:
                self.assertEqual(found["port"], self.template.properties(group)["FromPort"])

    def test_the_costs_of_the_document_add_up_and_follow_the_policies(self):
        text = (ROOT / "docs/aws.md").read_text()
        (table,) = re.findall(r"^\| \| 10 000 devices.*?\n\| --- .*?\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
        rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]
        number = lambda text: int(text.replace(" ", ""))
        # "8 of 200 000: 480" and "TLS: 30; TCP: 20" have their prices after a colon.
        prices = lambda cell: [number(part.split(":")[-1]) for part in cell.split(";")]
        for column, requests in [(1, 10), (2, 5000)]:
            costs = [prices(row[column]) for row in rows[:-1]]
            totals = sorted(number(each) for each in re.findall(r"\d[\d ]*", rows[-1][column]))
            # With the dearest or the cheapest balancer.
            for total, choose in [(totals[0], min), (totals[-1], max)]:
                self.assertAlmostEqual(sum(choose(each) for each in costs), total, delta=5)
            (tasks,) = [row[column] for row in rows if row[0] == "endpoint-nodes"]
            policy = self.template.properties("EndpointScalingByRequests")["TargetTrackingScalingPolicyConfiguration"]
            self.assertEqual(number(tasks.split(":")[0]), max(2, math.ceil(requests * 60 / policy["TargetValue"])))

    def test_alarms_reach_their_topic(self):
        """CloudWatch may not use the key of SNS, and its policy cannot be changed."""
        self.assertNotEqual(self.template.properties("Alarms").get("KmsMasterKeyId"), "alias/aws/sns")

    def test_the_user_of_the_store_has_the_documented_rights(self):
        documented = re.search(r"ACL SETUSER beckon on >PASSWORD (.*)", (ROOT / "docs/configuration.md").read_text())
        access = self.template.properties("StoreUser")["AccessString"]
        self.assertEqual(access.strip(), f"on {documented[1]}")

    def test_the_times_fit_into_each_other(self):
        targets = {
            each["Key"]: each["Value"]
            for each in self.template.properties("SocketTargets")["TargetGroupAttributes"]
        }
        self.assertEqual(targets["target_health_state.unhealthy.connection_termination.enabled"], "false")
        self.assertEqual(targets["deregistration_delay.connection_termination.enabled"], "false")
        group = self.template.properties("ConnectionNodes")
        self.assertEqual(group["HealthCheckType"], "EC2")
        (hook,) = group["LifecycleHookSpecificationList"]
        _, files = self.template.scripts()
        drain_rate = int(re.search(r"BECKON_DRAIN_RATE=(\d+)", files["/usr/local/bin/beckon-run"])[1])
        stop = int(re.search(r"docker stop --time (\d+)", files["/etc/systemd/system/beckon.service"])[1])
        # docs/operations.md, "Starting, stopping, scaling".
        self.assertLessEqual(20 + 1_000_000 / drain_rate + 30, stop)
        self.assertLess(stop, hook["HeartbeatTimeout"])
        (container,) = self.template.properties("EndpointTask")["ContainerDefinitions"]
        self.assertLessEqual(20 + 15 + 30, container["StopTimeout"])
        self.assertLessEqual(container["StopTimeout"], 120)

    def test_the_scripts_are_bash(self):
        text, files = self.template.scripts()
        for script in [text, *(text for name, text in files.items() if "/bin/" in name)]:
            subprocess.run(["bash", "-n"], input=script, text=True, check=True)

    def test_an_instance_serves_reports_its_sockets_and_drains_before_it_is_terminated(self):
        _, files = self.template.scripts()
        with Keys() as keys, Machine(files, keys) as machine:
            node, ip = machine.start_node(), machine.ip
            signalled = machine.start(machine.path / "beckon-signal")
            until("the node is ready", 60, lambda: get(f"http://{ip}:8080/ready")[0] == 200)
            self.assertEqual(get(f"http://{ip}:8080/__lbheartbeat__")[0], 200)
            self.assertEqual(signalled.wait(30), 0)
            self.assertIn("cfn-signal --region eu-central-1 --stack beckon --resource ConnectionNodes", machine.calls()[-1])
            (found,) = [line for line in machine.said("beckon-run").splitlines() if "found the address for other nodes" in line]
            self.assertIn(f"{machine.address}:{machine.grpc_port}", found)
            self.assertIn("the metadata of the EC2 instance", found)
            report = machine.path / "report.json"
            devices = machine.start(
                PROGRAMS / "loadgen",
                *("--ws", f"ws://{ip}:8080/", "--clients", "40", "--send-for", "0", "--idle", "60s"),
                *("--json", str(report)),
            )
            until("the devices are there", 30, lambda: '"clients":40' in get(f"http://{ip}:8080/status")[1])
            watch = machine.start(machine.path / "beckon-watch")
            until("the sockets are reported", 30, machine.reported)
            self.assertEqual(machine.reported(), [40])
            machine.state = "Terminated"
            # The script waits for the end of the process, which has to be collected here.
            until("the node has drained", 90, lambda: node.poll() is not None)
            self.assertEqual((node.wait(), watch.wait(30)), (0, 0))
            last = machine.calls()[-2:]
            self.assertEqual(last[0], "systemctl stop beckon")
            self.assertIn("complete-lifecycle-action", last[1])
            self.assertIn(f"--lifecycle-action-result CONTINUE --instance-id {machine.name}", last[1])
            devices.send_signal(signal.SIGKILL)

    def test_an_instance_that_ends_tls_takes_up_its_next_certificate(self):
        _, files = self.template.scripts(NodeCertificate="beckon/tls")
        files["/usr/local/bin/beckon-watch"] = files["/usr/local/bin/beckon-watch"].replace("3600", "5")
        with Keys() as keys, Machine(files, keys) as machine:
            first, second = (self.certificate(machine.path, name) for name in ["first", "second"])
            machine.write_secret("beckon/tls", json.dumps(first))
            machine.start_node()
            shown = lambda: self.shown(machine.ip)
            until("the node shows its certificate", 60, lambda: shown() == first["cert"])
            check = self.template.properties("SocketTargets")
            self.assertEqual(check["HealthCheckProtocol"], {"Fn::If": ["PassesTcp", "HTTPS", "HTTP"]})
            machine.write_secret("beckon/tls", json.dumps(second))
            machine.start(machine.path / "beckon-watch")
            until("the node shows the next one", 60, lambda: shown() == second["cert"])
            modes = {path.name: path.stat().st_mode & 0o777 for path in (machine.path / "run").iterdir()}
            self.assertEqual(modes, {"cert.pem": 0o600, "key.pem": 0o600})
            # What is half there is not given to the node.
            machine.write_secret("beckon/tls", json.dumps({"cert": first["cert"]}))
            broken = machine.start(machine.path / "beckon-certificate")
            self.assertNotEqual(broken.wait(30), 0)
            self.assertEqual((machine.path / "run/cert.pem").read_text().strip(), second["cert"].strip())

    @staticmethod
    def certificate(folder, name):
        cert, key = folder / f"{name}.cert", folder / f"{name}.key"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        subprocess.run(
            [*command, "-subj", f"/CN={name}.example.net", "-keyout", key, "-out", cert], check=True, capture_output=True
        )
        return {"cert": cert.read_text(), "key": key.read_text()}

    @staticmethod
    def shown(ip):
        try:
            return ssl.get_server_certificate((ip, 8080), timeout=5)
        except OSError:
            return ""

    def test_the_connection_tier_grows_and_shrinks_by_the_sockets_that_its_instances_report(self):
        """With the smallest values that the template takes."""
        per_node, target = 1000, 700
        _, files = self.template.scripts(ConnectionsPerNode=str(per_node))
        tracking = self.template.properties("ConnectionNodesScaling")["TargetTrackingConfiguration"]
        self.assertEqual(tracking["TargetValue"], {"Ref": "ConnectionsTarget"})
        self.assertEqual(tracking["CustomizedMetricSpecification"]["Statistic"], "Average")
        with contextlib.ExitStack() as stack:
            keys = stack.enter_context(Keys())

            def instance(number):
                machine = stack.enter_context(Machine(files, keys, number))
                machine.node = machine.start_node()
                until("the instance is ready", 60, lambda: get(f"http://{machine.ip}:8080/ready")[0] == 200)
                return machine

            def load(name, machines, *flags):
                report = first.path / f"{name}.json"
                ws = ",".join(f"ws://{machine.ip}:8080/" for machine in machines)
                flags = ["--ws", ws, "--http", f"http://{NETWORK}20:8081", "--json", str(report), "--retry", "1s", *flags]
                return first.start(PROGRAMS / "loadgen", *flags), report

            first, second = instance(2), instance(3)
            task = stack.enter_context(Task(self.template, keys, f"{NETWORK}20", first.path / "task.log"))
            until("the task is ready", 60, lambda: get(f"http://{NETWORK}20:8081/ready")[0] == 200)
            devices, told = load("devices", [first, second], "--clients", "1500", "--rate", "50", "--send-for", "90s")
            until("the devices are there", 60, lambda: first.sockets() + second.sockets() == 1500)

            def desired(machines):
                """How many instances target tracking wants, by what these have reported last."""
                return math.ceil(sum(machine.reported()[-1] for machine in machines) / target)

            for machine in [first, second]:
                machine.watch = machine.start(machine.path / "beckon-watch")
            until("the sockets are reported", 30, lambda: first.reported() and second.reported())
            self.assertEqual(desired([first, second]), 3)
            third = instance(4)
            more, told_more = load("more", [third], "--clients", "50", "--rate", "20", "--send-for", "5s")
            self.assertEqual(more.wait(60), 0, first.said("loadgen"))
            # The group takes the newest, as it may, and its devices go to the others.
            third.watch = third.start(third.path / "beckon-watch")
            until("it has reported too", 30, third.reported)
            third.state = "Terminated"
            until("the node has drained", 90, lambda: third.node.poll() is not None)
            self.assertEqual((third.node.wait(), third.watch.wait(30)), (0, 0))
            self.assertEqual(devices.wait(180), 0, first.said("loadgen"))
            reports = [json.loads(report.read_text()) for report in [told, told_more]]
            assert_nothing_was_lost(self, reports, steps_failed(task.metrics()))

    def test_a_task_serves_and_is_healthy_and_ends_in_time(self):
        _, files = self.template.scripts()
        with contextlib.ExitStack() as stack:
            keys = stack.enter_context(Keys())
            machine = stack.enter_context(Machine(files, keys))
            ip = machine.ip
            task = stack.enter_context(Task(self.template, keys, ip, machine.path / "task.log"))
            path = self.template.properties("EndpointTargets")["HealthCheckPath"]
            until("the task is ready", 60, lambda: get(f"http://{ip}:8081{path}")[0] == 200)
            _, program, port = task.container["HealthCheck"]["Command"]
            subprocess.run([machine.path / program, port], check=True)
            self.assertIn("beckon_ready 1", task.metrics())
            task.process.send_signal(signal.SIGTERM)
            until("the balancer is sent away", 10, lambda: get(f"http://{ip}:8081{path}")[0] == 503)
            self.assertEqual(task.process.wait(task.container["StopTimeout"]), 0)

    def test_the_endpoint_tier_grows_and_shrinks_by_the_requests_of_its_balancer_without_a_failed_one(self):
        _, files = self.template.scripts()
        with contextlib.ExitStack() as stack:
            keys = stack.enter_context(Keys())
            machine = stack.enter_context(Machine(files, keys))
            machine.start_node()
            until("the node is ready", 60, lambda: get(f"http://{machine.ip}:8080/ready")[0] == 200)
            balancer = stack.enter_context(Balancer(self.template, machine.path))
            service = stack.enter_context(Service(self.template, keys, machine.path, balancer))
            address, port = BALANCER

            def load(name, *flags):
                flags = ["--json", str(machine.path / f"{name}.json"), "--retry", "1s", "--dialect", "webpush", *flags]
                way = ["--ws", f"ws://{machine.ip}:8080/", "--http", f"http://{address}:{port}"]
                return machine.start(PROGRAMS / "loadgen", *way, *flags)

            service.until("all tasks are healthy", 15, lambda: len(balancer.healthy()) == 2)
            steady = load("steady", "--clients", "50", "--rate", "5", "--send-for", "240s")
            more = load("more", "--clients", "50", "--rate", "22", "--send-for", "50s")
            service.until("a third task is added and healthy", 20, lambda: len(balancer.healthy()) == 3)
            service.until("there is less to do", 20, lambda: more.poll() is not None)
            self.assertEqual(service.history, [2, 3])
            service.until("the tier is small again", 40, lambda: service.history[-1] == 2)
            self.assertEqual(service.history, [2, 3, 2])
            self.assertEqual(len(balancer.healthy()), 2)
            # One that is stopped before the balancer knows, which finds out by itself in the time of drain_delay.
            service.start()
            service.until("there is one in its place", 15, lambda: len(balancer.healthy()) == 3)
            service.stop(service.tasks[0], is_noticed=False)
            self.assertIsNone(steady.poll(), "the load has to last until then")
            self.assertEqual((more.wait(), steady.wait(240)), (0, 0), machine.said("loadgen"))
            reports = [json.loads((machine.path / f"{name}.json").read_text()) for name in ["steady", "more"]]
            assert_nothing_was_lost(self, reports, service.all_failed_steps())
            self.assertEqual(balancer.own_errors(), balancer.own_before, "no request came to a task that was not there")

    def test_an_update_of_the_stack_does_not_shrink_a_tier(self):
        """What the stack says of it, the next update makes of it, at whatever load."""
        self.assertNotIn("DesiredCount", self.template.properties("EndpointService"))
        self.assertNotIn("DesiredCapacity", self.template.properties("ConnectionNodes"))

    def test_the_alarm_of_the_probe_counts_the_rounds_that_fail_and_no_others(self):
        (container,) = self.template.properties("ProbeTask")["ContainerDefinitions"]
        program, probe, url, *flags = container["Command"]
        self.assertEqual(url, {"Ref": "DevicesUrl"})
        pattern = self.template.properties("ProbeFailures")["FilterPattern"].strip('"')
        _, files = self.template.scripts()
        with contextlib.ExitStack() as stack:
            keys = stack.enter_context(Keys())
            machine = stack.enter_context(Machine(files, keys))
            flags = [flag.replace("0.0.0.0", machine.ip) for flag in flags]
            way = ["--endpoint-url", f"http://{machine.ip}:8081", "--interval", "1s", "--timeout", "10s"]
            machine.start(PROGRAMS / program, probe, f"ws://{machine.ip}:8080/", *flags, *way)
            counted = lambda: len([line for line in machine.said(program).splitlines() if pattern in line])
            until("a round fails in each dialect", 60, lambda: counted() >= 2)
            machine.start_node()
            stack.enter_context(Task(self.template, keys, machine.ip, machine.path / "task.log"))
            until("rounds succeed in each dialect", 120, lambda: self.rounds(machine.ip, '"ok"') >= 6)
            same = lambda: counted() == self.rounds(machine.ip, r'"(?!ok)\w+"')
            until("as many lines are counted as rounds have failed", 60, same)

    @staticmethod
    def rounds(ip, result):
        """How many rounds of the probe had such a result."""
        _, text = get(f"http://{ip}:8085/metrics")
        counts = re.findall(rf"^beckon_probe_rounds_total\{{.*result={result}.*\}} (\S+)$", text, re.MULTILINE)
        return sum(float(count) for count in counts)


if __name__ == "__main__":
    unittest.main()
