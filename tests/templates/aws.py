"""An instance of the CloudFormation template as processes: the scripts that it writes, and what stands for AWS around them."""

import base64
import json
import os
import re
import secrets
import socket
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cfnlint.decode import cfn_yaml
from cluster import get
from folders import DEPLOY, PROGRAMS

TEMPLATE = DEPLOY / "aws/beckon.yaml"
REDIS = ("127.80.2.1", 6379)
# The machines have 127.80.2.2 and following addresses.
NETWORK = "127.80.2."

# Stands for the AWS of the scripts: these commands are the boundary of what runs here. `docker run` becomes the program with the
# variables that it is given, `docker exec` a command beside it, and `systemctl stop` SIGTERM. Because all machines are this one, a
# node listens on a loopback address of its machine instead of on 0.0.0.0, and for other nodes, which call the address of this
# machine that the metadata service names, on a port of its own.
STANDS_FOR = {
    "aws": """
        words="$*"
        echo "aws $words" >> "$HERE/calls"
        case $words in
          *"--secret-id "*) secret=${words#*--secret-id }; secret=${secret%% *}; cat "$HERE/secret-${secret//\\//-}";;
        esac
    """,
    "docker": """
        case $1 in
          run) ;;
          exec) shift 2; exec "$HERE/$@";;
          kill) kill -"$3" "$(cat "$HERE/pid")"; exit;;
          *) exit 64;;
        esac
        variables=("AWS_EC2_METADATA_SERVICE_ENDPOINT=$METADATA")
        while (($# > 2)); do
          if [[ $1 == --env ]]; then
            case $2 in
              BECKON_GRPC_LISTEN) variables+=("$2=${!2/8082/$GRPC_PORT}");;
              *) variables+=("$2=${!2//0.0.0.0/$IP}");;
            esac
          fi
          shift
        done
        exec env -i "${variables[@]}" "$PROGRAMS/$2"
    """,
    "systemctl": """
        echo "systemctl $*" >> "$HERE/calls"
        [[ $* == "stop beckon" ]] && kill -TERM "$(cat "$HERE/pid")" && tail --pid="$(cat "$HERE/pid")" -f /dev/null
    """,
    "cfn-signal": """echo "cfn-signal $*" >> "$HERE/calls" """,
    # Only root can give files away.
    "install": """mkdir -p -m 0700 "${@: -1}" """,
    "chown": "",
}


class Template:
    def __init__(self):
        template = json.loads(json.dumps(cfn_yaml.load(str(TEMPLATE))))
        self.resources, self.parameters = template["Resources"], template["Parameters"]

    def properties(self, name):
        return self.resources[name]["Properties"]

    def data(self):
        """What an instance runs at its first start, and the variables in it that are not parameters."""
        return self.properties("ConnectionNodeTemplate")["LaunchTemplateData"]["UserData"]["Fn::Base64"]["Fn::Sub"]

    def scripts(self, **changes):
        """The files that an instance writes at its first start, by name, and the whole script."""
        text, more = self.data()
        values = {
            "AWS::Region": "eu-central-1",
            "AWS::StackName": "beckon",
            "Image": "registry.example.net/beckon:0.1.0",
            "StoreUrl": "store",
            "ClusterSecret": "cluster",
            "AdminToken": "admin",
            "MetricsToken": "metrics",
            "TokenKeysSecretArn": "keys",
            "UaidKeySecretArn": "uaid-key",
            "EndpointUrl": "https://push.example.net",
            "ConnectionsPerNode": "200000",
            "OtlpEndpoint": "",
            "Logs": "logs",
            # What the conditions HasPrometheus and PassesTcp choose.
            "AdminAddress": "127.0.0.1",
            "NodeCertificate": "",
        } | changes
        self.assert_all_are_known(more, values)
        text = re.sub(r"\$\{([A-Za-z:]+)\}", lambda match: values[match[1]], text).replace("${!", "${")
        files = dict(re.findall(r"^cat > (\S+) <<'END'\n(.*?)^END$", text, re.MULTILINE | re.DOTALL))
        return text, files

    @staticmethod
    def assert_all_are_known(more, values):
        assert more.keys() <= values.keys(), more.keys()


class Metadata(BaseHTTPRequestHandler):
    """The metadata service of an instance, version 2: nothing without a token."""

    def do_PUT(self):
        self.answer("a token" if self.path == "/latest/api/token" else None)

    def do_GET(self):
        has_token = self.headers.get("X-aws-ec2-metadata-token") == "a token"
        paths = {
            "/latest/meta-data/local-ipv4": lambda: self.server.machine.address,
            "/latest/meta-data/instance-id": lambda: self.server.machine.name,
            "/latest/meta-data/autoscaling/target-lifecycle-state": lambda: self.server.machine.state,
        }
        self.answer(paths[self.path]() if has_token and self.path in paths else None)

    def answer(self, text):
        body = (text or "").encode()
        self.send_response(404 if text is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Keys:
    """The secrets of a cluster, and its store."""

    def __enter__(self):
        key = lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        host, port = REDIS
        names = ["cluster", "admin", "metrics", "keys", "uaid-key"]
        self.values = {"store": f"redis://{host}:{port}"} | {name: key() for name in names}
        self.folder = tempfile.TemporaryDirectory(prefix="beckon-aws-")
        options = ["--bind", host, "--port", str(port), "--save", "", "--dir", self.folder.name]
        self.redis = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        self.redis.kill()
        self.redis.wait()
        self.folder.cleanup()


def own_address():
    """The address of this machine in its network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        # This sends nothing.
        asking.connect(("192.0.2.1", 9))
        return asking.getsockname()[0]


def free_port():
    with socket.create_server(("0.0.0.0", 0)) as taken:
        return taken.getsockname()[1]


class Machine:
    """A folder with the scripts of an instance, and what stands for AWS."""

    def __init__(self, scripts, keys, number=2):
        self.ip, self.name, self.state = f"{NETWORK}{number}", f"i-{number:010}", "InService"
        self.address, self.grpc_port = own_address(), free_port()
        self.scripts, self.values = scripts, keys.values

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="beckon-aws-")
        self.path, self.processes = Path(self.folder.name), []
        self.metadata = ThreadingHTTPServer((self.ip, 1338), Metadata)
        self.metadata.machine = self
        threading.Thread(target=self.metadata.serve_forever, daemon=True).start()
        self.environment = {
            "PATH": f"{self.path}:{os.environ['PATH']}",
            "HERE": str(self.path),
            "IP": self.ip,
            "METADATA": f"http://{self.ip}:1338",
            "GRPC_PORT": str(self.grpc_port),
            "PROGRAMS": str(PROGRAMS),
        }
        for name, text in STANDS_FOR.items():
            self.write(name, "#!/bin/bash\n" + text)
        self.write("health-check", (DEPLOY / "health-check").read_text().replace("127.0.0.1", self.ip))
        for name, text in self.scripts.items():
            if name.startswith("/usr/local/bin/"):
                for here, there in [
                    ("/usr/local/bin/", f"{self.path}/"),
                    ("/opt/aws/bin/", f"{self.path}/"),
                    ("/run/beckon", str(self.path / "run")),
                    ("http://169.254.169.254", f"http://{self.ip}:1338"),
                    ("127.0.0.1:8083", f"{self.ip}:8083"),
                ]:
                    text = text.replace(here, there)
                self.write(Path(name).name, text)
        for name, value in self.values.items():
            self.write_secret(name, value)
        (self.path / "calls").write_text("")
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        self.metadata.shutdown()
        self.metadata.server_close()
        self.folder.cleanup()

    def write(self, name, text):
        (self.path / name).write_text(text)
        (self.path / name).chmod(0o755)

    def write_secret(self, name, value):
        (self.path / f"secret-{name.replace('/', '-')}").write_text(value)

    def start(self, *command):
        with open(self.path / f"{Path(str(command[0])).name}.log", "w") as log:
            process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.processes.append(process)
        return process

    def start_node(self):
        node = self.start(self.path / "beckon-run")
        (self.path / "pid").write_text(str(node.pid))
        return node

    def said(self, program):
        return (self.path / f"{program}.log").read_text()

    def calls(self):
        return (self.path / "calls").read_text().splitlines()

    def sockets(self):
        """How many are open, or 0 if it does not say so."""
        status, text = get(f"http://{self.ip}:8083/status")
        return json.loads(text)["clients"] if status == 200 else 0

    def reported(self):
        """The numbers of sockets that it has told CloudWatch."""
        calls = [call for call in self.calls() if "put-metric-data" in call and "--metric-name Connections" in call]
        return [int(call.rsplit(" ", 1)[1]) for call in calls]
