"""What operators do after they have installed a package, as the documents say."""

import subprocess
import sys
import unittest
from pathlib import Path

from test_addresses import ALONE, HAS_NAMESPACES


@unittest.skipUnless(HAS_NAMESPACES, "THE SETTINGS OF PACKAGES ARE NOT CHECKED: namespaces for networks cannot be made here")
class Packages(unittest.TestCase):
    def test_nodes_with_the_documented_settings_are_reached_from_other_hosts(self):
        self.run_alone("packaged.py")

    def test_a_server_without_a_proxy_takes_its_certificates(self):
        self.run_alone("own_tls.py")

    def run_alone(self, name):
        program = Path(__file__).with_name(name)
        done = subprocess.run([*ALONE, sys.executable, program], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
