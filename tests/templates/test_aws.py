"""The CloudFormation template: linted, and its commands, variables and scripts run as processes."""

import base64
import json
import os
import re
import secrets
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

from cfnlint.api import lint_file
from cfnlint.decode import cfn_yaml
from cluster import get, until
from folders import DEPLOY, PROGRAMS, ROOT

TEMPLATE = DEPLOY / "aws/beckon.yaml"
REDIS = ("127.80.2.1", 6379)
IP = "127.80.2.2"

# Stands for the AWS of the scripts: `aws`, `docker` and `metadata` are the boundary of what runs here. `docker run` becomes the
# program with the variables that it is given, and `docker stop` SIGTERM.
STANDS_FOR = {
    "aws": """
        words="$*"
        echo "aws $words" >> "$HERE/calls"
        case $words in *"--secret-id "*) secret=${words#*--secret-id }; cat "$HERE/secret-${secret%% *}";; esac
    """,
    "metadata": """
        case $1 in
          local-ipv4) echo $IP;;
          instance-id) echo i-0123456789;;
          autoscaling/target-lifecycle-state) cat "$HERE/state";;
        esac
    """,
    "docker": """
        [[ $1 == run ]] || exit 64
        variables=()
        while (($# > 2)); do
          [[ $1 == --env ]] && variables+=("$2=${!2//0.0.0.0/$IP}")
          shift
        done
        exec env -i "${variables[@]}" "$PROGRAMS/$2"
    """,
    "systemctl": """
        echo "systemctl $*" >> "$HERE/calls"
        [[ $* == "stop beckon" ]] && kill -TERM "$(cat "$HERE/pid")" && tail --pid="$(cat "$HERE/pid")" -f /dev/null
    """,
    "curl": """exec /usr/bin/curl "$@" """,
}


class Template:
    def __init__(self):
        self.resources = json.loads(json.dumps(cfn_yaml.load(str(TEMPLATE))["Resources"]))

    def properties(self, name):
        return self.resources[name]["Properties"]

    def scripts(self):
        """The files that an instance writes at its first start, by name, and the whole script."""
        data = self.properties("ConnectionNodeTemplate")["LaunchTemplateData"]["UserData"]
        text = data["Fn::Base64"]["Fn::Sub"]
        values = {
            "AWS::Region": "eu-central-1",
            "AWS::StackName": "beckon",
            "Image": "registry.example.net/beckon:0.1.0",
            "StoreUrl": "store",
            "ClusterSecret": "cluster",
            "AdminToken": "admin",
            "TokenKeysSecretArn": "keys",
            "UaidKeySecretArn": "uaid-key",
            "EndpointUrl": "https://push.example.net",
            "ConnectionsPerNode": "200000",
            "Logs": "logs",
        }
        text = re.sub(r"\$\{([A-Za-z:]+)\}", lambda match: values[match[1]], text)
        files = dict(re.findall(r"^cat > (\S+) <<'END'\n(.*?)^END$", text, re.MULTILINE | re.DOTALL))
        return text, files


class Machine:
    """A folder with the scripts of an instance, and what stands for AWS."""

    def __init__(self, scripts):
        self.folder = tempfile.TemporaryDirectory(prefix="beckon-aws-")
        self.path = Path(self.folder.name)
        self.processes = []
        for name, text in STANDS_FOR.items():
            self.write(name, "#!/bin/bash\n" + text)
        for name in ["/usr/local/bin/beckon-run", "/usr/local/bin/beckon-watch"]:
            text = scripts[name].replace("/usr/local/bin/metadata", str(self.path / "metadata"))
            self.write(Path(name).name, text.replace("127.0.0.1:8083", f"{IP}:8083"))
        key = lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        values = {"store": f"redis://{REDIS[0]}:{REDIS[1]}"} | {
            name: key() for name in ["cluster", "admin", "keys", "uaid-key"]
        }
        for name, value in values.items():
            (self.path / f"secret-{name}").write_text(value)
        (self.path / "state").write_text("InService")
        (self.path / "calls").write_text("")
        self.environment = {
            "PATH": f"{self.path}:{os.environ['PATH']}",
            "HERE": str(self.path),
            "IP": IP,
            "PROGRAMS": str(PROGRAMS),
        }

    def write(self, name, text):
        (self.path / name).write_text(text)
        (self.path / name).chmod(0o755)

    def start(self, *command):
        with open(self.path / f"{Path(str(command[0])).name}.log", "w") as log:
            process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.processes.append(process)
        return process

    def calls(self):
        return (self.path / "calls").read_text().splitlines()

    def __enter__(self):
        host, port = REDIS
        self.start("redis-server", "--bind", host, "--port", str(port), "--save", "", "--dir", str(self.path))
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        self.folder.cleanup()


class Aws(unittest.TestCase):
    def setUp(self):
        self.template = Template()

    def test_the_template_has_no_findings(self):
        self.assertEqual([str(finding) for finding in lint_file(TEMPLATE)], [])

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
        with Machine(files) as machine:
            node = machine.start(machine.path / "beckon-run")
            (machine.path / "pid").write_text(str(node.pid))
            until("the node is ready", 60, lambda: get(f"http://{IP}:8080/ready")[0] == 200)
            self.assertEqual(get(f"http://{IP}:8080/__lbheartbeat__")[0], 200)
            report = machine.path / "report.json"
            devices = machine.start(
                PROGRAMS / "loadgen",
                *("--ws", f"ws://{IP}:8080/", "--clients", "40", "--send-for", "0", "--idle", "60s"),
                *("--json", str(report)),
            )
            until("the devices are there", 30, lambda: '"clients":40' in get(f"http://{IP}:8080/status")[1])
            watch = machine.start(machine.path / "beckon-watch")
            reports = lambda: [call for call in machine.calls() if "put-metric-data" in call]
            until("the sockets are reported", 30, reports)
            self.assertIn("--metric-name Connections", reports()[0])
            self.assertTrue(reports()[0].endswith("--value 40"), reports())
            (machine.path / "state").write_text("Terminated")
            # The script waits for the end of the process, which has to be collected here.
            until("the node has drained", 90, lambda: node.poll() is not None)
            self.assertEqual((node.wait(), watch.wait(30)), (0, 0))
            last = machine.calls()[-2:]
            self.assertEqual(last[0], "systemctl stop beckon")
            self.assertIn("complete-lifecycle-action", last[1])
            self.assertIn("--lifecycle-action-result CONTINUE --instance-id i-0123456789", last[1])
            devices.send_signal(signal.SIGKILL)

    def test_a_task_serves_and_is_healthy_and_ends_in_time(self):
        (container,) = self.template.properties("EndpointTask")["ContainerDefinitions"]
        _, files = self.template.scripts()
        with Machine(files) as machine:
            secret = {"StoreUrl": "store", "ClusterSecret": "cluster", "TokenKeysSecretArn": "keys"}
            values = {"EndpointUrl": "https://push.example.net", "VpcCidr": "10.0.0.0/16"}
            variables = {
                each["Name"]: values[each["Value"]["Ref"]] if isinstance(each["Value"], dict) else each["Value"]
                for each in container["Environment"]
            }
            for each in container["Secrets"]:
                variables[each["Name"]] = (machine.path / f"secret-{secret[each['ValueFrom']['Ref']]}").read_text()
            variables["BECKON_HTTP_LISTEN"] = f"{IP}:8081"
            (command,) = container["Command"]
            task = subprocess.Popen([PROGRAMS / command], env=variables, stderr=subprocess.DEVNULL)
            machine.processes.append(task)
            path = self.template.properties("EndpointTargets")["HealthCheckPath"]
            until("the task is ready", 60, lambda: get(f"http://{IP}:8081{path}")[0] == 200)
            _, program, port = container["HealthCheck"]["Command"]
            subprocess.run([DEPLOY / program, port], check=True)
            task.send_signal(signal.SIGTERM)
            until("the balancer is sent away", 10, lambda: get(f"http://{IP}:8081{path}")[0] == 503)
            self.assertEqual(task.wait(container["StopTimeout"]), 0)


if __name__ == "__main__":
    unittest.main()
