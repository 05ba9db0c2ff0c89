"""Shared set-up: tests may import the helpers that lie beside them."""

import sys
from pathlib import Path

for folder in ("orchestrator", "lineage", "trainers", "simulation", "integration", "fuzz"):
    sys.path.insert(0, str(Path(__file__).parent / folder))
