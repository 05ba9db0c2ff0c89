"""Coverage-guided fuzzing of the parsers, by atheris: `make fuzz`, no part of the tests.

    python tests/fuzz/atheris_parsers.py SECONDS [TARGET ...]

feeds each target bytes for so many seconds, and says how many inputs it tried. An input that leads to anything but the
error that the target promises, takes 20 s or 2 GB, is kept as a file, which is named; the exit code is then 1. The path of
such a file in place of SECONDS tries it again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FOUND = ROOT / "fuzz-found"
TIMEOUT_S, MEMORY_MB = 20, 2048
LARGEST_BYTES = 8192  # of an input; large ones have tests of their own
_FOLDER = tempfile.TemporaryDirectory(prefix="spnas-fuzz-")  # gone with this process
PLACE = Path(_FOLDER.name)


class Target(NamedTuple):
    """What takes the bytes, and good inputs to begin with."""

    take: Callable[[bytes], None]
    seeds: list[bytes]


def codes(data: bytes) -> None:
    from lineage.architecture import Genotype, GenotypeError

    try:
        genotype = Genotype.parse(data.decode(errors="surrogateescape"))
    except GenotypeError:
        return
    assert Genotype.parse(genotype.code) == genotype
    assert genotype.code.encode() == data


def quantities(data: bytes) -> None:
    from orchestrator.quantities import count, memory_bytes, milliseconds

    for read in (count, memory_bytes, milliseconds):
        try:
            amount = read(data.decode(errors="surrogateescape"))
        except ValueError:
            continue
        assert amount is not None
        assert 0 <= amount <= 2**63


def configurations(data: bytes) -> None:
    from orchestrator.config_faults import parse_config
    from orchestrator.config_file import load_config
    from orchestrator.errors import ConfigError

    path = PLACE / "c.yml"
    path.write_bytes(data)
    try:
        config = load_config(path)
    except ConfigError:
        return
    assert parse_config(config.to_mapping(), "log") == config


def records(data: bytes) -> None:
    from lineage.architecture import Genotype
    from orchestrator.errors import ConfigError
    from orchestrator.records import best_of

    path = PLACE / "r.csv"
    path.write_bytes(data)
    try:
        network, ap = best_of(path, lambda genotype: genotype.depth)
    except ConfigError:
        return
    assert Genotype.parse(network.code) == network
    assert 0 <= ap <= 1


def events(data: bytes) -> None:
    from pydantic import ValidationError

    from lineage.events import from_json, to_json

    for payload in (data, _in_an_event(data)):
        try:
            event = from_json(payload)
        except ValidationError:
            continue
        assert to_json(from_json(to_json(event))) == to_json(event)


def _in_an_event(data: bytes) -> bytes:
    """A good payload, which the first byte names, with the rest in place of the value that the second byte names."""
    which, key, value = (*data[:2], 0, 0)[0], (*data[:2], 0, 0)[1], data[2:]
    event = json.loads(EVENTS[which % len(EVENTS)])
    keys = sorted(event)
    good = json.dumps({**event, keys[key % len(keys)]: "@"}).encode()
    return good.replace(b'"@"', value)


EVENTS = [
    b'{"kind":"RunResumed"}',
    b'{"kind":"JobFinished","job_id":"j","attempt":1,"checkpoint":"c","ap":0.5}',
    b'{"kind":"EpochFinished","job_id":"j","attempt":1,"epoch":1,"epochs":2,"loss":NaN}',
    b'{"kind":"RunStarted","run_id":"r","seed":1,"simulated":true,"slots":1,"window":1,"config":{"a":[1,{}]}}',
    b'{"kind":"CandidateRuledOut","candidate_id":"s","limit":"flops","measured":2.5,"allowed":1}',
]
TARGETS = {
    "codes": Target(codes, [b"b_11-21-21-21_0-0-0-0", b"x(32x4d)_11-21_1-0", b"r_111-2111-211111-211_0-0-0-0"]),
    "quantities": Target(quantities, [b"4.2G", b"4.2e9", b"8 GiB", b"20ms", b"1000"]),
    "configurations": Target(
        configurations,
        [
            (ROOT / "examples" / "digits" / "sp_nas.yml").read_bytes(),
            b"pipeline: [a]\na: {trainer: {config_template: t.py, model_desc: b_1_0}, search_space: &x {}}\n",
        ],
    ),
    "records": Target(
        records, [b"arch,mAP\nb_1-1_0-0,0.5\n", b'\xef\xbb\xbfmAP,"arch",ruled_out\r\n50,b_1_0,\r\n1,b_2_0,x\r\n']
    ),
    "events": Target(events, EVENTS),
}


def fuzz(name: str, options: list[str]) -> None:
    """Feed a target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["lineage", "orchestrator", "yaml"]):
        import orchestrator.config_file
        import orchestrator.records  # noqa: F401
    atheris.Setup([name, *options], TARGETS[name].take)
    atheris.Fuzz()


def run(name: str, seconds: int) -> bool:
    """Feed a target in a process of its own, and tell what came of it; whether all was well."""
    corpus = PLACE / name
    corpus.mkdir()
    for number, seed in enumerate(TARGETS[name].seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    FOUND.mkdir(exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-timeout={TIMEOUT_S}", f"-rss_limit_mb={MEMORY_MB}"]
    options += [f"-max_len={LARGEST_BYTES}", f"-artifact_prefix={FOUND}/{name}-", str(corpus)]
    command = [sys.executable, __file__, "--one", name, *options]
    inside = {**os.environ, "TMPDIR": str(PLACE)}  # what that process leaves goes with this one
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=inside)
    tried = re.search(r"Done (\d+) runs in (\d+) second", done.stderr)
    if done.returncode == 0 and tried:
        sys.stdout.write(f"{name}: {tried[1]} inputs in {tried[2]} s\n")
        return True
    kept = re.search(r"Test unit written to (\S+)", done.stderr)
    sys.stdout.write(
        f"{done.stdout[-3000:]}{done.stderr[-3000:]}\n{name}: failed on {kept[1] if kept else 'no input'}\n"
    )
    return False


def main() -> int:
    first, *names = sys.argv[1:] or ["60"]
    if first == "--one":
        fuzz(names[0], names[1:])
    if not first.isdecimal():
        TARGETS[Path(first).name.split("-")[0]].take(Path(first).read_bytes())
        sys.stdout.write(f"{first}: nothing is wrong with it\n")
        return 0
    failed = [name for name in names or TARGETS if not run(name, int(first))]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
