"""Files that users name: read only where they are regular, and no further than any such file has a reason to go on.

A pipe or a device would be waited for, or read, without end. Must not know what is in the files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def opened(path: Path, most_bytes: int) -> Iterator[BinaryIO]:
    """A regular file of at most `most_bytes`, to be read.

    Raises:
        OSError: it can't be opened.
        ValueError: it is no regular file, or is larger; or no file can have such a name.
    """
    # O_NONBLOCK: opening a pipe that nobody writes to would wait
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"expected a regular file, found {_kind(found.st_mode)}")
        if found.st_size > most_bytes:
            raise ValueError(f"it has {found.st_size} bytes, and at most {in_words(most_bytes)} are read")
        yield file


def text_of(path: Path, most_bytes: int) -> str:
    """The text (UTF-8) of a file. Raises as `opened`."""
    with opened(path, most_bytes) as file:
        content = file.read(most_bytes + 1)  # it may have grown, or not tell its size
    if len(content) > most_bytes:
        raise ValueError(f"it has more than {in_words(most_bytes)}")
    return content.decode()


def is_file(path: Path) -> bool:
    """Whether there is a regular file; a name that no file can have is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """As `is_file`."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_text(path: Path) -> bool:
    """Whether a path is UTF-8 without NUL: the log can hold no other."""
    try:
        return b"\0" not in str(path).encode()
    except UnicodeEncodeError:
        return False


def in_words(size_bytes: int) -> str:
    """A whole number of MiB or KiB."""
    return f"{size_bytes >> 20} MiB" if size_bytes >= 2**20 else f"{size_bytes >> 10} KiB"


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((name for test, name in kinds if test(mode)), "a device")
