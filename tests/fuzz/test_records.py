"""Any file named as a search record is one, or an error of the user's: soon, and within bounded memory."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from atheris_parsers import TARGETS
from elsewhere import given as networks_given
from elsewhere import starting_from
from hostile import mutated_bytes, tries
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from orchestrator.records import MAX_LINE, best_of

GOOD = (
    "arch,worker_id,pre_arch,mAP,ruled_out\n"
    + "".join(f"b_1{'1' * n}-21_0-{n % 3},{n},,0.{n}5,{'latency 2 > 1' if n == 9 else ''}\n" for n in range(10))
).encode()
PARTS = st.sampled_from(
    [
        b"=HYPERLINK(1)",
        b"\0",
        b'"',
        b"\r",
        b"x" * 140_000,
        b"," * 3000,
        b"nan",
        b"inf",
        b"1e999",
        b"-0",
        "٣".encode(),
        b"\xff",
        b"\xfe\xff",
        b"\xef\xbb\xbf",
        b"mAP",
        b"arch,",
    ]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


@tries(200)
@given(mutated_bytes(GOOD, PARTS))
def test_a_mutated_record_names_a_network_or_what_is_wrong(content: bytes):
    TARGETS["records"].take(content)  # what `make fuzz` asks of it


@tries(60)
@given(mutated_bytes(GOOD, PARTS), st.sampled_from(["serial", "parallel"]))
def test_a_step_starts_from_a_mutated_record_or_says_why_not(folder: Path, content: bytes, level: str):
    (folder / "r.csv").write_bytes(content)
    try:
        (network,) = networks_given(starting_from("r.csv", level), folder, simulate=True)
    except ConfigError:
        return
    assert network.ap is not None


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "name", ["pipe", "/dev/zero", ".", "../x.csv", "n" * 5000, "a\0b", "a\nb", "loop.csv", "\udcff.csv"]
)
def test_what_is_no_regular_file_is_no_record(tmp_path: Path, name: str):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    with pytest.raises(ConfigError, match=r"(?s)can't read .* as a search record"):
        best_of(tmp_path / name, lambda network: network.depth)
    with pytest.raises(ConfigError, match="is no run folder and no record"):
        networks_given(starting_from(name), tmp_path, simulate=True)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"," * (2 * MAX_LINE), "a line has more than 1 MiB"),
        (b"arch,mAP\n" + b"b_1_0,0.1\n" * 100_000, None),
        (b"arch,mAP\n" + (b"," * 100_000 + b"\n") * 100, "names no trained network"),
    ],
    ids=["one line", "many rows", "many columns"],
)
def test_a_large_record_is_read_in_little_memory(folder: Path, content: bytes, expected: str | None):
    path = folder / "large.csv"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        if expected is None:
            assert best_of(path, lambda network: network.depth)[1] == 0.1
        else:
            with pytest.raises(ConfigError, match=expected):
                best_of(path, lambda network: network.depth)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
