"""What ten people who ask with `spnas-orch sql` cost a live run: events a second that are durable, without them and with.

    python benchmarks/sql_command.py [--clients 10] [--candidates 300] [--pairs 6] [--shells]

The same simulated search, at a speed that the machine can't reach, is timed without clients and with clients that ask one
query after another without a pause, in turns. With `--shells` each process has a session of its own, as in as many
terminals. Then queries are timed alone, and beside processes that never wait. What it printed, and on what, is in
benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from lineage.snapshot import open_snapshot
from orchestrator.run_folder import RunFolder, has_begun

EXAMPLE = Path(__file__).parents[1] / "examples/digits/sp_nas.yml"
PROGRAM = [sys.executable, "-c", "from orchestrator.cli import main; main()"]
CANDIDATES = "serial.search_algorithm.max_sample"
SETS = ["serial.search_algorithm.reignite=", "pipeline=[serial]"]
QUERIES = ("FROM leaderboard LIMIT 10", "SELECT kind, count(*) FROM events GROUP BY ALL", "FROM pareto_front")
SPEED = 10**6
TIMED = 5


@contextmanager
def started(run: Path, candidates: int, own_session: bool) -> Iterator[subprocess.Popen[bytes]]:
    """A live run."""
    sets = [part for one in (f"{CANDIDATES}={candidates}", *SETS) for part in ("--set", one)]
    command = [*PROGRAM, "start", str(EXAMPLE), "--simulate", "--speed", str(SPEED), "--no-tui", "--run-dir", str(run)]
    with process([*command, *sets], own_session) as live:
        yield live


def busy(own_session: bool) -> AbstractContextManager[object]:
    return process([sys.executable, "-c", "while True: pass"], own_session)


@contextmanager
def process(command: list[str], own_session: bool) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended with the context."""
    nowhere = subprocess.DEVNULL
    found = subprocess.Popen(command, stdout=nowhere, stderr=nowhere, start_new_session=own_session)
    try:
        yield found
    finally:
        found.kill()
        found.wait()


def question(run: Path, query: str) -> list[str]:
    return [*PROGRAM, "sql", str(run), query, "--timeout", "600"]


class Clients:
    """So many at once, until the context ends: shells that ask, which take no time themselves."""

    def __init__(self, run: Path, count: int, shells: bool) -> None:
        self.answered = 0
        asked = "; ".join(f"{shlex.join(question(run, query))} >/dev/null && echo" for query in QUERIES)
        self._processes = [
            subprocess.Popen(
                ["sh", "-c", f"while :; do {asked}; done"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=shells,
                process_group=None if shells else 0,
            )
            for _ in range(count)
        ]

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes:
            out, _errors = process.communicate()
            self.answered += out.count(b"\n")


def latency(run: Path) -> list[float]:
    """Seconds that one question takes after another."""
    found = []
    for query in itertools.islice(itertools.cycle(QUERIES), TIMED):
        began = time.perf_counter()
        subprocess.run(question(run, query), stdout=subprocess.DEVNULL, check=True)
        found.append(time.perf_counter() - began)
    return sorted(found)


def told(name: str, seconds: list[float]) -> None:
    sys.stdout.write(f"one query {name}: {statistics.median(seconds):.2f} s (median), {seconds[-1]:.2f} s at most\n")


def search(run: Path, candidates: int, clients: int, shells: bool) -> tuple[float, int, int]:
    """Seconds of a search from its first events to its end, its events, and how often clients were answered meanwhile."""
    with started(run, candidates, shells) as process:
        while not has_begun(RunFolder(run)):
            time.sleep(0.1)
        began = time.perf_counter()
        with Clients(run, clients, shells) as asking:
            process.wait()
            seconds = time.perf_counter() - began
    with open_snapshot(run / "lineage.duckdb") as store:
        ((events,),) = store.query("SELECT max(seq) FROM events").rows
    return seconds, int(events), asking.answered


def measure(folder: Path, candidates: int, count: int, pairs: int, shells: bool) -> None:
    lost, answers, rates = [], [], []
    for number in range(pairs):
        alone, events, _ = search(folder / f"alone-{number}", candidates, 0, shells)
        asked, events_too, answered = search(folder / f"asked-{number}", candidates, count, shells)
        assert events == events_too
        lost.append(1 - alone / asked)
        rates.append(events / alone)
        answers.append(answered / asked)
    sys.stdout.write(
        f"{statistics.median(rates):.0f} events/s without clients; with {count} a search loses "
        f"{statistics.median(lost):.1%} of its rate (median of {pairs} pairs; {min(lost):.1%} to {max(lost):.1%}); "
        f"{statistics.mean(answers):.2f} answers/s\n"
    )
    sys.stdout.flush()
    run = folder / "asked-0"
    told("beside nothing", latency(run))
    with busy(shells), busy(shells):
        told("beside two busy processes", latency(run))
    with started(folder / "live", 10**5, shells), busy(shells), busy(shells):
        while not has_begun(RunFolder(folder / "live")):
            time.sleep(0.1)
        told("of a live run, beside it and two busy processes", latency(folder / "live"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--candidates", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--shells", action="store_true", help="each process in a session of its own")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as temporary:
        measure(Path(temporary), arguments.candidates, arguments.clients, arguments.pairs, arguments.shells)


if __name__ == "__main__":
    main()
