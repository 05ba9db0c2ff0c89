"""What ten SQL clients cost the search: events a second that are durable, without clients and with them.

    python benchmarks/sql_clients.py [--clients 10] [--rounds 20] [--seconds 2]

A simulated search of 100 networks is in the log before. Then events are appended and published as a run does it, with the
SQL server of a live run beside, in rounds that alternate: without clients, with clients that ask one query after another
without a pause. `alone` waits for each event before the next, as a search does; `crowd` has 16 that wait. What it printed,
and on what, is in benchmarks/RESULTS.md. What `spnas-orch sql` costs: benchmarks/sql_command.py.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from lineage.events import EpochFinished, JobAssigned, Recorded, RunStarted
from lineage.store import EventStore
from lineage.writer import EventWriter
from orchestrator.config_file import load_config
from orchestrator.executors.simulated import EPOCH, SimulatedExecutor
from orchestrator.general import General
from orchestrator.live.beside import end_with_owner
from orchestrator.live.endpoint import Quack, read
from orchestrator.live.service import Broker, Service
from orchestrator.live.sql_server import load_extensions
from orchestrator.run_folder import RunFolder
from orchestrator.runtime import Runtime
from orchestrator.search.control import Request
from orchestrator.search.state import SearchState

EXAMPLE = Path(__file__).parents[1] / "examples/digits/sp_nas.yml"
SETS = ["serial.search_algorithm.max_sample=100", "serial.search_algorithm.reignite=", "pipeline=[serial]"]
PRODUCERS = {"alone": 1, "crowd": 16}
QUERIES = (
    "FROM live.leaderboard LIMIT 10",
    "SELECT candidate_id, arch, ap, parent_id FROM live.candidates WHERE status = 'trained'",
    "SELECT status, count(*) FROM live.jobs GROUP BY ALL",
    "FROM quack_query_by_name('live', 'FROM pareto_front')",
    "FROM quack_query_by_name('live', 'FROM ancestors(''s-0090'')')",
    "FROM quack_query_by_name('live', 'SELECT job_id, max(epoch), last(loss) FROM epochs GROUP BY ALL')",
    "FROM quack_query_by_name('live', 'SELECT kind, count(*), max(ts) FROM events GROUP BY ALL')",
)


async def search(store: EventStore) -> None:
    """Something to ask about."""
    config = load_config(EXAMPLE, SETS).to_mapping()
    started = RunStarted(run_id="measured", seed=1, simulated=True, slots=2, window=2, config=config)
    with EventWriter(store) as writer:
        executor = SimulatedExecutor(["sim:0", "sim:1"], EPOCH)
        await Runtime(SearchState(), writer, executor, executor.now).run([started])


class Appending:
    """Events of trainings without an end, appended and published as a run does it."""

    def __init__(self, writer: EventWriter, service: Service) -> None:
        self._writer, self._service = writer, service
        self._jobs = itertools.count(1)

    async def rate(self, producers: int, seconds: float) -> float:
        """Events a second, in so many seconds."""
        began = time.perf_counter()
        counts = await asyncio.gather(*(self._produce(began + seconds) for _ in range(producers)))
        return sum(counts) / (time.perf_counter() - began)

    async def _produce(self, until: float) -> int:
        job_id = f"j-{10**6 + next(self._jobs)}"
        job = JobAssigned(job_id=job_id, job_kind="fast_train", subject_id="s-0001", device="cpu:0", attempt=1)
        await self._append(job)
        for epoch in itertools.count(1):
            if time.perf_counter() > until:
                return epoch
            event = EpochFinished(job_id=job_id, attempt=1, epoch=epoch, epochs=10**6, loss=1 / epoch, ap=0.1)
            await self._append(event)
        raise AssertionError

    async def _append(self, event: JobAssigned | EpochFinished) -> None:
        for recorded in await asyncio.wrap_future(self._writer.append([event], datetime.now(UTC))):
            self._service.publish(recorded)


def ask_for_ever(uri: str, token: str, first: int) -> None:
    """A client: one query after another, until SIGTERM; then it prints how many."""
    end_with_owner()
    answered = 0

    def end(*_: object) -> None:
        sys.stdout.write(f"{answered}\n")
        sys.stdout.flush()
        os._exit(0)

    with duckdb.connect(config={"threads": 1}) as connection:
        load_extensions(connection)
        connection.execute(f"ATTACH '{uri}' AS live (TOKEN '{token}')")
        signal.signal(signal.SIGTERM, end)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for query in itertools.islice(itertools.cycle(QUERIES), first, None):
            connection.execute(query).fetchall()
            answered += 1


class Clients:
    """So many processes that ask, or are stopped."""

    def __init__(self, quack: Quack, count: int) -> None:
        command = [sys.executable, __file__, "--ask", quack.uri, quack.token]
        self._processes = [
            subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True) for number in range(count)
        ]
        self._outputs = [process.stdout for process in self._processes if process.stdout is not None]
        for output in self._outputs:
            output.readline()
        self.signal(signal.SIGSTOP)

    def cores_s(self) -> float:
        """What all of them have taken of a core's time."""
        return sum(cores_s(process.pid) for process in self._processes)

    def signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            process.send_signal(number)

    def end(self) -> list[int]:
        """How many answers each got."""
        for number in (signal.SIGTERM, signal.SIGCONT):
            self.signal(number)
        answered = [int(output.readline() or 0) for output in self._outputs]
        for process in self._processes:
            process.wait()
        return answered


def cores_s(process: int) -> float:
    """What a process has taken of a core's time."""
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def sql_server() -> int:
    """Process id of the server that this process has started."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    (server,) = (int(one) for one in children if b"sql_server" in Path(f"/proc/{one}/cmdline").read_bytes())
    return server


def refuse(_request: Request, _by: str) -> asyncio.Future[Recorded]:
    raise AssertionError("nobody asks for anything")


async def measure(folder: RunFolder, count: int, rounds: int, seconds: float) -> None:
    folder.logs.mkdir()
    with EventStore.create(folder.database) as store:
        await search(store)
        with EventWriter(store) as writer:
            service = Service(folder, General(), Broker(), refuse, last_seq=0)
            service.start()
            while (found := read(folder.endpoint, os.getpid())) is None or found.quack is None:
                await asyncio.sleep(0.1)
            appending = Appending(writer, service)
            for name, producers in PRODUCERS.items():
                asking = Clients(found.quack, count)
                await appending.rate(producers, 1)
                without, beside = [], []
                client_s, server_s = -asking.cores_s(), 0.0
                for _ in range(rounds):
                    without.append(await appending.rate(producers, seconds))
                    asking.signal(signal.SIGCONT)
                    server_s -= cores_s(sql_server())
                    beside.append(await appending.rate(producers, seconds))
                    server_s += cores_s(sql_server())
                    asking.signal(signal.SIGSTOP)
                client_s += asking.cores_s()
                answered = [count / rounds / seconds for count in asking.end()]
                lost = [1 - b / a for a, b in zip(without, beside, strict=True)]
                sys.stdout.write(
                    f"{name}: {statistics.median(without):.0f} events/s without clients, {statistics.median(beside):.0f} "
                    f"with {count}; lost in a pair of rounds: {statistics.median(lost):.1%} (median), "
                    f"{statistics.mean(lost):.1%} (mean); {sum(answered):.0f} answers/s, {min(answered):.1f} to "
                    f"{max(answered):.1f} a client; cores taken: clients {client_s / rounds / seconds:.2f}, "
                    f"server, for answers and tables, {server_s / rounds / seconds:.2f}\n"
                )
            await service.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--ask", nargs=3, metavar=("URI", "TOKEN", "FIRST"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ask:
        uri, token, first = arguments.ask
        ask_for_ever(uri, token, int(first))
    with tempfile.TemporaryDirectory(dir=".") as temporary:
        asyncio.run(measure(RunFolder(Path(temporary)), arguments.clients, arguments.rounds, arguments.seconds))


if __name__ == "__main__":
    main()
