"""The server of docs/clients.md that has no proxy in front of it: its settings, its certificate, and when it takes what. test_packages.py
starts this in a namespace for networks.
"""

import contextlib
import json
import re
import signal
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from cluster import get, until
from folders import PROGRAMS, ROOT
from pod_network import ip

MARK = "<!-- run by: tests/templates/own_tls.py -->"
NAME = "push.example.net"
ADMIN = "http://127.0.0.1:8083"
UPGRADE = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]


def settings():
    text = (ROOT / "docs/clients.md").read_text()
    (block,) = re.findall(rf"^{re.escape(MARK)}\n```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return block


def renew(folder):
    """What the hook copies."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    command += ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def answers(folder, port, path, headers=()):
    """The status of an answer over TLS, if whoever answers has the certificate that is in the folder."""
    command = ["curl", "--silent", "--http1.1", "--max-time", "2", "--cacert", folder / "cert.pem", "--output", folder / "answer"]
    command += ["--connect-to", f"{NAME}:{port}:127.0.0.1:{port}", "--write-out", "%{http_code}"]
    command += [word for header in headers for word in ("--header", header)]
    return int(subprocess.run([*command, f"https://{NAME}:{port}{path}"], stdout=subprocess.PIPE, text=True).stdout)


def main():
    ip("link", "set", "lo", "up")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="beckon-templates-")))
        file = folder / "beckon.toml"
        text = settings().replace("/etc/beckon/tls", str(folder)) + f'data_dir = "{folder}/data"\n'
        without = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("tls_"))

        @contextlib.contextmanager
        def server():
            with open(folder / "beckon.log", "a") as log:
                process = subprocess.Popen([PROGRAMS / "beckon", "serve", "--config", file], env={}, stdout=log, stderr=log)
            try:
                until("the server", 30, lambda: get(f"{ADMIN}/ready")[0] == 200)
                yield process
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0
            finally:
                process.kill()
                process.wait()

        # A reload does not switch TLS on.
        renew(folder)
        file.write_text(without)
        with server():
            file.write_text(text)
            token = {"Authorization": f"Bearer {(folder / 'data/admin-token').read_text().strip()}"}
            with urllib.request.urlopen(urllib.request.Request(f"{ADMIN}/reload", method="POST", headers=token)) as answer:
                assert json.load(answer)["needs_restart"] == ["tls_cert", "tls_key"]
            assert answers(folder, 443, "/ready") == 0
        # A restart does, and then a reload takes a new certificate.
        with server() as process:
            assert answers(folder, 443, "/ready") == 200
            assert answers(folder, 8443, "/", UPGRADE) == 101
            renew(folder)
            assert answers(folder, 443, "/ready") == 0
            process.send_signal(signal.SIGHUP)
            until("the new certificate", 10, lambda: answers(folder, 443, "/ready") == 200)


if __name__ == "__main__":
    main()
