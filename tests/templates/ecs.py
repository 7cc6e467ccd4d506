"""The endpoint tier of the CloudFormation template as processes: its tasks, HAProxy in place of the Application Load Balancer, and
what Elastic Container Service and Application Auto Scaling do with them.

Time runs faster here, because target tracking waits for a quarter of an hour: MINUTE is a minute of CloudWatch. What a program or a
balancer does takes as long as it says. Numbers of requests are a hundredth of the template's.
"""

import csv
import math
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

from aws import NETWORK
from cluster import get, steps_failed, until
from folders import PROGRAMS

MINUTE = 4.0
SCALE = 100
BALANCER = (f"{NETWORK}100", 8081)


class Task:
    """A task of the endpoint tier: the command and the variables of its container, and a loopback address for that of its network
    interface."""

    SECRETS = {
        "StoreUrl": "store",
        "ClusterSecret": "cluster",
        "TokenKeysSecretArn": "keys",
        "AdminToken": "admin",
        "MetricsToken": "metrics",
    }

    def __init__(self, template, keys, ip, log, **parameters):
        (self.container,) = template.properties("EndpointTask")["ContainerDefinitions"]
        given = {"EndpointUrl": "https://push.example.net", "VpcCidr": f"{NETWORK}0/24", "OtlpEndpoint": ""} | parameters
        self.ip, self.token = ip, keys.values["metrics"]

        def value(found):
            if not isinstance(found, dict):
                return found
            # The condition HasPrometheus.
            return given[found["Ref"]] if "Ref" in found else found["Fn::If"][1]

        variables = {
            each["Name"]: value(each["Value"]).replace("0.0.0.0:", f"{ip}:") for each in self.container["Environment"]
        }
        for each in self.container["Secrets"]:
            variables[each["Name"]] = keys.values[self.SECRETS[each["ValueFrom"]["Ref"]]]
        program, *arguments = self.container["Command"]
        with open(log, "w") as stderr:
            self.process = subprocess.Popen(
                [PROGRAMS / program, *arguments], env=variables, stderr=stderr, stdin=subprocess.DEVNULL
            )

    def metrics(self):
        """What it answers to Prometheus."""
        return get(f"http://{self.ip}:8084/metrics", headers={"Authorization": f"Bearer {self.token}"})[1]

    def cpu_seconds(self):
        """What it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        """As the agent of ECS does: SIGTERM, and SIGKILL after StopTimeout, which is not to be needed. Returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(self.container["StopTimeout"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Balancer:
    """HAProxy with what the template says of the Application Load Balancer and its target group. It repeats no request, and speaks
    HTTP where the other one ends TLS."""

    TARGETS_MAX = 6

    def __init__(self, template, folder):
        group = template.properties("EndpointTargets")
        attributes = {each["Key"]: each["Value"] for each in group["TargetGroupAttributes"]}
        balancer = template.properties("EndpointBalancer")["LoadBalancerAttributes"]
        (idle,) = [each["Value"] for each in balancer if each["Key"] == "idle_timeout.timeout_seconds"]
        self.check_path, self.port = group["HealthCheckPath"], group["Port"]
        self.interval, self.healthy_after = group["HealthCheckIntervalSeconds"], group["HealthyThresholdCount"]
        self.delay = int(attributes["deregistration_delay.timeout_seconds"])
        self.socket, self.targets, self.new = folder / "haproxy.sock", {}, {}
        address, port = BALANCER
        text = f"""
            global
                stats socket {self.socket} level admin
            defaults
                mode http
                timeout connect 10s
                timeout client {idle}s
                timeout server {idle}s
                timeout check {group["HealthCheckTimeoutSeconds"]}s
                retries 0
            frontend listener
                bind {address}:{port}
                default_backend targets
            backend targets
                balance roundrobin
                option forwardfor
                option httpchk GET {self.check_path}
                http-check expect status 200
                default-server inter {self.interval}s rise {self.healthy_after} fall {group["UnhealthyThresholdCount"]}
                server-template target 1-{self.TARGETS_MAX} {address}:1 check disabled
        """
        path = folder / "haproxy.cfg"
        path.write_text("\n".join(line[12:] for line in text.splitlines()) + "\n")
        with open(folder / "haproxy.log", "w") as log:
            self.process = subprocess.Popen(["/usr/sbin/haproxy", "-db", "-f", path], stdout=log, stderr=log)
        until("haproxy listens", 20, lambda: self.socket.exists() and get(f"http://{address}:{port}/")[0] == 503)
        # That one was answered by the balancer itself.
        self.own_before = self.own_errors()

    def command(self, text):
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(self.socket))
            admin.sendall(f"{text}\n".encode())
            answer = b"".join(iter(lambda: admin.recv(1 << 16), b"")).decode()
        # A change of an address is told, and everything else that is said of a change is a complaint.
        if text.startswith("set ") and " addr " not in text and answer.strip():
            raise AssertionError(f"{text}: {answer}")
        return answer

    def stats(self):
        """The counters of the targets and of both sides, by name."""
        rows = csv.DictReader(self.command("show stat").removeprefix("# ").splitlines())
        return {row["svname"] if row["svname"].startswith("target") else row["pxname"]: row for row in rows}

    def register(self, ip):
        """A target of the group. It gets requests once it has been healthy often enough."""
        self.new[ip] = (0, time.monotonic())

    def look(self):
        """Checks new targets, as often as the template says."""
        for ip, (successes, due) in list(self.new.items()):
            if time.monotonic() < due:
                continue
            successes = successes + 1 if get(f"http://{ip}:{self.port}{self.check_path}")[0] == 200 else 0
            self.new[ip] = (successes, due + self.interval)
            if successes >= self.healthy_after:
                del self.new[ip]
                number = min({*range(1, self.TARGETS_MAX + 1)} - {*self.targets.values()})
                self.targets[ip] = number
                self.command(f"set server targets/target{number} addr {ip} port {self.port}")
                self.command(f"set server targets/target{number} state ready")

    def healthy(self):
        """The addresses of those that get requests."""
        stats = self.stats()
        return [ip for ip, number in self.targets.items() if stats[f"target{number}"]["status"].startswith("UP")]

    def deregister(self, ip):
        """It gets no more requests. Returns when those that it has are answered, or after the delay of the group."""
        server = f"target{self.targets[ip]}"
        self.command(f"set server targets/{server} state drain")
        deadline = time.monotonic() + self.delay
        while int(self.stats()[server]["scur"]) and time.monotonic() < deadline:
            time.sleep(0.1)
        self.forget(ip)

    def forget(self, ip):
        """ECS has taken a target that has ended out of the group."""
        self.command(f"set server targets/target{self.targets.pop(ip)} state maint")

    def requests(self):
        """How many it has sent to targets since it was started."""
        return sum(int(row["stot"]) for name, row in self.stats().items() if re.fullmatch(r"target\d+", name))

    def own_errors(self):
        """Requests that it has answered itself, because no target did."""
        stats = self.stats()
        of_targets = sum(int(row["hrsp_5xx"]) for name, row in stats.items() if re.fullmatch(r"target\d+", name))
        return int(stats["targets"]["hrsp_5xx"]) - of_targets

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class TargetTracking:
    """A policy, and the alarms that it makes: above the target for three minutes, or more than a tenth below it for fifteen.
    https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html"""

    HIGH, LOW, LOW_SHARE = 3, 15, 0.9

    def __init__(self, policy, target):
        configuration = policy["TargetTrackingScalingPolicyConfiguration"]
        self.name = configuration["PredefinedMetricSpecification"]["PredefinedMetricType"]
        self.target = target(configuration["TargetValue"])
        self.cooldown_out = configuration["ScaleOutCooldown"] / 60 * MINUTE
        self.cooldown_in = configuration["ScaleInCooldown"] / 60 * MINUTE
        self.values = []

    def wants_more(self):
        return len(self.values) >= self.HIGH and min(self.values[-self.HIGH :]) > self.target

    def wants_less(self):
        """Not with too few data."""
        return len(self.values) >= self.LOW and max(self.values[-self.LOW :]) < self.target * self.LOW_SHARE

    def size(self, tasks):
        """In proportion."""
        return math.ceil(tasks * self.values[-1] / self.target)


class Service:
    """The tasks, and how many there are to be."""

    def __init__(self, template, keys, folder, balancer):
        self.template, self.keys, self.folder, self.balancer = template, keys, folder, balancer
        parameters = template.parameters
        scalable = template.properties("EndpointScalable")
        self.least, self.most = (parameters[scalable[key]["Ref"]]["Default"] for key in ["MinCapacity", "MaxCapacity"])
        requests, cpu = (template.properties(f"EndpointScalingBy{what}") for what in ["Requests", "Cpu"])
        self.requests = TargetTracking(requests, lambda per_minute: per_minute * MINUTE / 60 / SCALE)
        self.cpu = TargetTracking(cpu, lambda percent: percent)
        self.cpus = int(template.properties("EndpointTask")["Cpu"]) / 1024
        self.tasks, self.started, self.failed_steps, self.history = [], 0, 0, [self.least]
        self.grown, self.shrunk = -math.inf, -math.inf
        for _ in range(self.least):
            self.start()
        self.counted = self.count()
        self.minute_ends = time.monotonic() + MINUTE

    def start(self):
        self.started += 1
        ip = f"{NETWORK}{20 + self.started}"
        self.tasks.append(Task(self.template, self.keys, ip, self.folder / f"task-{self.started}.log"))
        self.balancer.register(ip)

    def stop(self, task, is_noticed=True):
        """ECS takes a task out of the target group, waits until the balancer has let go of it, and stops it. A task that is stopped
        without that being noticed serves until the balancer sees it."""
        if is_noticed:
            self.balancer.deregister(task.ip)
        self.failed_steps += steps_failed(task.metrics())
        if (status := task.stop()) != 0:
            raise AssertionError(f"a task has ended with {status}")
        self.tasks.remove(task)
        if not is_noticed:
            self.balancer.forget(task.ip)

    def count(self):
        return self.balancer.requests(), {task.ip: task.cpu_seconds() for task in self.tasks}

    def minute(self):
        """Lets a minute pass, and does what follows from it."""
        while time.monotonic() < self.minute_ends:
            self.balancer.look()
            time.sleep(0.2)
        (requests, cpu), (requests_before, cpu_before) = self.count(), self.counted
        if healthy := len(self.balancer.healthy()):
            # RequestCountPerTarget and CPUUtilization.
            self.requests.values.append((requests - requests_before) / healthy)
            shares = [(used - cpu_before[ip]) / MINUTE / self.cpus * 100 for ip, used in cpu.items() if ip in cpu_before]
            self.cpu.values.append(sum(shares) / max(len(shares), 1))
            self.scale(healthy)
        # Not before a task has stopped that was to.
        self.counted, self.minute_ends = self.count(), time.monotonic() + MINUTE

    def scale(self, healthy):
        """Grows as far as any policy wants, and shrinks if all want that, as far as all want it. What was added and does not serve
        yet counts as if it did."""
        now, policies, desired = time.monotonic(), [self.requests, self.cpu], self.history[-1]
        sizes = [min(max(policy.size(healthy), self.least), self.most) for policy in policies]
        more = max((size for policy, size in zip(policies, sizes) if policy.wants_more()), default=0)
        if more > desired and now - self.grown >= max(policy.cooldown_out for policy in policies):
            self.grown = now
            self.history.append(more)
            for _ in range(more - desired):
                self.start()
        elif all(policy.wants_less() for policy in policies) and max(sizes) < desired:
            if now - max(self.shrunk, self.grown) >= max(policy.cooldown_in for policy in policies):
                self.history.append(max(sizes))
                for task in self.tasks[: desired - max(sizes)]:
                    self.stop(task)
                self.shrunk = time.monotonic()

    def until(self, what, minutes, check):
        """Lets minutes pass until `check` returns something true."""
        for _ in range(minutes):
            if check():
                return
            self.minute()
        raise TimeoutError(f"{what}: not within {minutes} minutes; {self.requests.values}, {self.cpu.values}, {self.history}")

    def all_failed_steps(self):
        """Steps of the store that have failed, of all tasks that there were."""
        return self.failed_steps + sum(steps_failed(task.metrics()) for task in self.tasks)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for task in self.tasks:
            task.__exit__()
