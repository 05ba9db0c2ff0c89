"""Shared set-up: tests may import the helpers that lie beside them, and Ctrl-C ends what they start."""

import signal
import sys
from pathlib import Path

from hypothesis import settings

for folder in ("orchestrator", "lineage", "trainers", "simulation", "integration", "fuzz"):
    sys.path.insert(0, str(Path(__file__).parent / folder))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a script
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("untimed", deadline=None)  # a machine that has others to serve fails no test
settings.load_profile("untimed")
