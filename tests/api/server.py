"""`beckon` with a device of each dialect, as the tests of the descriptions ask it."""

import json
import os
import secrets
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

PROGRAMS = Path(os.environ["BECKON_PROGRAMS"])

TOKEN = secrets.token_hex(16)

# Two wrong tokens are shown by each test of a path; ten of one address are compared.
PATIENCE_S = 30


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, check):
    """Waits until `check` returns something true, and returns it."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := check()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {PATIENCE_S} s")
        time.sleep(0.05)
    return found


class Device:
    """`beckon listen`, in one of the dialects."""

    def __init__(self, arguments, log, environment):
        self.log = log
        with open(log, "w") as output:
            self.process = subprocess.Popen(
                [PROGRAMS / "beckon", "listen", *arguments],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=environment,
            )

    def endpoint(self):
        """The last endpoint that it has printed; it registers anew when it is forgotten."""
        found = [word.strip('",') for word in self.log.read_text().split() if "http://" in word]
        return next((word[word.index("http://") :] for word in reversed(found) if word.count("/") > 3), None)


class Server:
    """Everything of it ends with the `with` block."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="beckon-api-")
        folder = Path(self.folder.name)
        ws, http, admin = free_port(), free_port(), free_port()
        self.http, self.admin = f"http://127.0.0.1:{http}", f"http://127.0.0.1:{admin}"
        settings = {
            "BECKON_WS_LISTEN": f"127.0.0.1:{ws}",
            "BECKON_HTTP_LISTEN": f"127.0.0.1:{http}",
            "BECKON_ADMIN_LISTEN": f"127.0.0.1:{admin}",
            "BECKON_ENDPOINT_URL": self.http,
            "BECKON_DATA_DIR": str(folder / "data"),
            "BECKON_ADMIN_TOKEN": TOKEN,
            "BECKON_DRAIN_DELAY": "0",
        }
        self.processes = []
        try:
            with open(folder / "beckon.log", "w") as log:
                self.processes.append(
                    subprocess.Popen(
                        [PROGRAMS / "beckon"], env=settings, stdout=log, stderr=log, stdin=subprocess.DEVNULL
                    )
                )
            until("beckon is ready", lambda: self.status("/ready") == 200)
            server = f"ws://127.0.0.1:{ws}/"
            state = str(folder / "device.json")
            # The same environment as the shell's, without the server's settings.
            environment = {name: value for name, value in os.environ.items() if not name.startswith("BECKON_")}
            self.simplepush = Device([server], folder / "simplepush.log", environment)
            self.processes.append(self.simplepush.process)
            self.webpush = Device(["--web-push", "--state", state, server], folder / "webpush.log", environment)
            self.processes.append(self.webpush.process)
            for device in (self.simplepush, self.webpush):
                until("a device has an endpoint", device.endpoint)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        self.folder.cleanup()

    def ask(self, method, path, body=None, token=TOKEN, headers=None):
        """The status, the headers and the body of an answer of the admin listener."""
        headers = dict(headers or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.admin + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()
        except OSError:
            return 0, {}, b""

    def status(self, path):
        return self.ask("GET", path)[0]

    def client(self):
        """The id of the client that has the SimplePush device."""
        _, _, body = self.ask("POST", "/api/client/find", {"endpoint": self.simplepush.endpoint()})
        return json.loads(body)["client"]
