"""Pictures of the terminal UI for the README: `python -m orchestrator.pictures RUN FOLDER` writes one of each screen."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from textual.pilot import Pilot

from orchestrator.run_folder import find_run
from orchestrator.viewing import LocalRun
from orchestrator.watching import app_of

SIZE = (120, 36)
FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)  # from elsewhere: what shows a picture has one of its own
LOOK_S = 0.1


async def write(run: str, folder: Path) -> None:
    """A picture of each screen of a finished run. Raises OSError, UserError."""
    folder.mkdir(parents=True, exist_ok=True)
    app = app_of(LocalRun(find_run(run), run))
    async with app.run_test(size=SIZE) as pilot:
        while app.state.contact.state == "connecting":
            await pilot.pause(LOOK_S)
        for number, mode in enumerate(app.MODES, 1):
            await pilot.press(str(number))
            if mode == "sql":
                await pilot.press("ctrl+j")
            await _settled(pilot)
            picture = app.export_screenshot(title=f"spnas-orch watch {Path(run).name}")
            (folder / f"{mode}.svg").write_text(FONT.sub("", picture), encoding="utf-8")


async def _settled(pilot: Pilot[None]) -> None:
    """Wait until nothing on the screen changes any more."""
    before = ""
    while (now := pilot.app.export_screenshot()) != before:
        before = now
        await pilot.pause(5 * LOOK_S)


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], Path(sys.argv[2])))
