"""Where things are: the repository, the programs, and what was installed for these tests."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

# Set by `cargo xtask templates`.
PROGRAMS = Path(os.environ.get("BECKON_PROGRAMS", ROOT / "target/debug"))
PROMETHEUS = Path(os.environ.get("BECKON_PROMETHEUS", "/usr/bin/prometheus"))
PROMTOOL = PROMETHEUS.with_name("promtool")
