"""A device, and an application server that sends to it."""

import subprocess
import urllib.parse
import urllib.request

from cluster import until
from folders import PROGRAMS


class Device:
    """`beckon listen`, connected to `url`, with a channel. `log` is the file that it writes to."""

    def __init__(self, url, log):
        self.log = log
        with open(log, "w") as output:
            self.process = subprocess.Popen(
                [PROGRAMS / "beckon", "listen", url], stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )

    def __enter__(self):
        until("the device has an endpoint", 30, lambda: self.said("endpoint "))
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def said(self, start):
        """The rest of a line that begins so; nothing if there is none yet."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith(start)]
        return lines[0].removeprefix(start) if lines else ""

    def send(self, origin, version, **headers):
        """Sends to the device through the endpoint-node at `origin`, whatever its endpoint says. Returns the status."""
        path = urllib.parse.urlsplit(self.said("endpoint ")).path
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        body = f"version={version}".encode()
        request = urllib.request.Request(f"{origin}{path}", data=body, headers=headers, method="PUT")
        with urllib.request.urlopen(request, timeout=10) as answer:
            status = answer.status
        until("the device has heard it", 30, lambda: self.log.read_text().count(f"version {version}\n"))
        return status
