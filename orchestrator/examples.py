"""The examples that come with the package, copied into a folder of the user's."""

from __future__ import annotations

import shutil
from pathlib import Path

from orchestrator.config import nearest
from orchestrator.errors import UserError

_FILES = ("sp_nas.yml", "faster_rcnn_r50_fpn_1x.py")


def _root() -> Path:
    """Where the examples lie: inside an installed wheel, or beside the packages in a checkout."""
    here = Path(__file__).resolve().parent
    return here / "_examples" if (here / "_examples").is_dir() else here.parent / "examples"


def write_example(name: str, directory: Path) -> list[Path]:
    """Copy example `name` into `directory`; the paths written. Nothing is overwritten.

    Raises:
        UserError: there is no such example, a file is there already, or the folder can't be written.
    """
    known = sorted(path.name for path in _root().iterdir() if (path / _FILES[0]).is_file())
    if name not in known:
        raise UserError(f"no example {name!r}{nearest(name, known)} (examples: {', '.join(known)})")
    targets = [directory / file for file in _FILES]
    try:
        existing = [str(target) for target in targets if target.exists()]
    except OSError as error:
        raise UserError(f"can't write into {str(directory)[:80]}: {error.strerror}") from error
    if existing:
        raise UserError(f"{' and '.join(existing)} exists already: name another folder, spnas-orch init DIR")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file, target in zip(_FILES, targets, strict=True):
            shutil.copyfile(_root() / name / file, target)
    except OSError as error:
        raise UserError(f"can't write into {directory}: {error.strerror}") from error
    return targets
