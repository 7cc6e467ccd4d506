"""The manifests in clusters whose pods have addresses of one family only."""

import os
import subprocess
import sys
import unittest
from pathlib import Path

# Root needs no namespace of users for one of networks.
ALONE = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
HAS_NAMESPACES = subprocess.run([*ALONE, "true"], stderr=subprocess.DEVNULL).returncode == 0


@unittest.skipUnless(HAS_NAMESPACES, "ADDRESSES ARE NOT CHECKED: namespaces for networks cannot be made here")
class Addresses(unittest.TestCase):
    def run_with(self, kind):
        program = Path(__file__).with_name("pod_network.py")
        done = subprocess.run([*ALONE, sys.executable, program, kind], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_pods_have_only_ipv6(self):
        self.run_with("ipv6")

    def test_pods_have_only_ipv4(self):
        self.run_with("ipv4")

    def test_the_kernel_has_no_ipv6(self):
        self.run_with("no-ipv6")


if __name__ == "__main__":
    unittest.main()
