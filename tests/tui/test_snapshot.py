"""The look of the screens: pictures that change only when someone means to change them."""

import pytest

from lineage.events import RunPaused, RunStopped
from tui.source import Contact, DeviceUse

SIZES = {"80x24": (80, 24), "160x50": (160, 50)}
SCREENS = {
    "search": ("1", "○ fullytrain", "AP 0.112  10s", "r-0001 accuracy 0.930, 20s"),
    "lineage": ("2", "…-21-21 → …-1-21-21", "4 candidates"),
    "pareto": ("3", "on the front"),
    "candidate": ("4", "s-0002 (the best so far)", "stage 4"),
    "sql": ("5", "3 rows"),
    "log": ("6", "lines"),
}
ASKED = "SELECT candidate_id, ap, flops FROM candidates WHERE ap IS NOT NULL OR status = 'abandoned' ORDER BY 1"


@pytest.fixture(autouse=True)
def plain(monkeypatch, tmp_path):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
