"""The loop and the local workers: real store, real processes, no training."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from given import configuration, run_started
from simulated import is_gone, wait_for

from lineage.events import (
    Event,
    JobAssigned,
    JobCancelled,
    JobFailed,
    JobFinished,
    Recorded,
    RequestRefused,
    RunFinished,
    RunStopped,
    StopRequested,
    WorkerLost,
    WorkerStarted,
)
from lineage.store import EventStore
from lineage.writer import EventWriter
from orchestrator.errors import ConfigError, InfrastructureError
from orchestrator.executors import Executor
from orchestrator.executors.local import LocalExecutor
from orchestrator.executors.patience import Patience
from orchestrator.executors.simulated import EPOCH, SimulatedExecutor, simulate
from orchestrator.runtime import Runtime
from orchestrator.search import faults
from orchestrator.search.control import Cancel, Continue, Pause, answered
from orchestrator.search.state import SearchState
from trainers.protocol import WorkerSetup

FAKE = Path(__file__).with_name("fake_worker.py")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "PAUSE_S", 0.02)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with EventStore.create(tmp_path / "lineage.duckdb") as store:
        yield store


def run(store: EventStore, executor: Executor, stop_after: int | None = None) -> tuple[SearchState, list[Recorded]]:
    """Drive a search on `store`; what the listener heard. `stop_after` so many events the run is asked to stop."""
    heard: list[Recorded] = []

    async def search() -> SearchState:
        runtime = Runtime(SearchState(), writer, executor, lambda: datetime.now(UTC))

        def listen(recorded: Recorded) -> None:
            heard.append(recorded)
            if len(heard) == stop_after:
                runtime.ask_to_stop("somebody")

        runtime.listeners.append(listen)
        return await runtime.run([run_started(configuration())])

    with EventWriter(store) as writer:
        return asyncio.run(search()), heard


def workers(folder: Path, mode: str, count: int = 2, patience: Patience | None = None) -> LocalExecutor:
    setups = [
        WorkerSetup(
            device=f"cpu:{slot}",
            template=folder / "t.py",
            workdir=folder,
            checkpoints=folder,
            logs=folder,
            image_size=(96, 96),
        )
        for slot in range(count)
    ]
    return LocalExecutor(setups, (sys.executable, str(FAKE), mode), patience)


class Repeating(SimulatedExecutor):
    """Says everything twice, and goes on about jobs that ended."""

    async def reports(self) -> list[Event]:
        found = await super().reports()
        late = JobFinished(job_id="j-s-0001", attempt=1, checkpoint="late", ap=0.99)
        started = [event for event in found if isinstance(event, WorkerStarted)]
        return found if started else [*found, *found, late]


def test_listeners_hear_exactly_what_the_log_holds(store: EventStore):
    state, heard = run(store, SimulatedExecutor(["sim:0", "sim:1"]))
    assert state.status == "completed"
    assert heard == list(store.read())


def test_late_and_repeated_reports_are_not_recorded(store: EventStore):
    state, heard = run(store, Repeating(["sim:0", "sim:1"]))
    assert state.status == "completed"
    finished = [one.event.job_id for one in heard if isinstance(one.event, JobFinished)]
    assert len(finished) == len(set(finished))
    assert "late" not in {candidate.checkpoint for candidate in state.candidates.values()}


def test_a_listener_that_fails_does_not_stop_the_search(store: EventStore, caplog: pytest.LogCaptureFixture):
    executor = SimulatedExecutor(["sim:0"])

    async def search() -> SearchState:
        runtime = Runtime(SearchState(), writer, executor, executor.now)
        runtime.listeners.append(lambda recorded: 1 / 0)  # type: ignore[arg-type, return-value]
        return await runtime.run([run_started(configuration(), slots=1, window=1)])

    with EventWriter(store) as writer:
        assert asyncio.run(search()).status == "completed"
    assert caplog.text.count("a listener failed") == 1
    assert caplog.text.count("ZeroDivisionError") == 1


def test_a_run_that_is_asked_to_stop_records_it_and_ends(store: EventStore):
    state, heard = run(store, SimulatedExecutor(["sim:0"]), stop_after=10)
    assert state.status == "stopped"
    assert isinstance(heard[-1].event, RunStopped)


def test_simulated_numbers_depend_on_seed_and_job_alone(store: EventStore):
    state, heard = run(store, SimulatedExecutor(["sim:0"]))
    assigned = next(one.event for one in heard if isinstance(one.event, JobAssigned))
    assert simulate(state, assigned) == simulate(state, assigned)


@pytest.mark.parametrize("mode", ["finish", "die", "babble"])
def test_workers_that_die_or_babble_are_replaced_and_the_search_ends(store: EventStore, tmp_path: Path, mode: str):
    state, heard = run(store, workers(tmp_path, mode))
    assert state.status == "completed"
    assert all(candidate.outcome == "done" for candidate in state.candidates.values())
    lost = [one.event for one in heard if isinstance(one.event, WorkerLost)]
    assert (len(lost) == len(state.jobs)) if mode != "finish" else not lost
    if mode == "die":
        assert {job.attempt for job in state.jobs.values()} == {2}
        assert "exit code 9" in lost[0].message


def test_a_network_that_kills_the_only_worker_is_given_up_and_the_search_goes_on(store: EventStore, tmp_path: Path):
    state, heard = run(store, workers(tmp_path, "die_of_one", count=1))
    assert state.status == "completed"
    failed = [one.event for one in heard if isinstance(one.event, JobFailed)]
    assert [(one.job_id, one.attempt) for one in failed] == [("j-s-0002", 1), ("j-s-0002", 2), ("j-s-0002", 3)]
    outcomes = {name: candidate.outcome for name, candidate in state.candidates.items()}
    assert [name for name, outcome in outcomes.items() if outcome != "done"] == ["s-0002"]


def test_a_dead_worker_is_noticed_though_what_it_started_lives(store: EventStore, tmp_path: Path):
    began = time.monotonic()
    state, heard = run(store, workers(tmp_path, "fork"))
    assert state.status == "completed"
    assert len([one for one in heard if isinstance(one.event, WorkerLost)]) == 2
    assert time.monotonic() - began < 30


def test_what_a_worker_started_ends_with_it(store: EventStore, tmp_path: Path):
    state, _ = run(store, workers(tmp_path, "fork_and_finish"))
    assert state.status == "completed"
    started = [int(file.read_text()) for file in tmp_path.glob("was-here-*")]
    assert started  # one worker may do all, where the other takes long to start
    wait_for(lambda: all(is_gone(process) for process in started))


def test_a_template_that_goes_missing_ends_the_run_with_the_reason_and_nothing_is_lost(
    store: EventStore, tmp_path: Path
):
    with pytest.raises(ConfigError, match="the template is gone"):
        run(store, workers(tmp_path, "refuse_later"))
    failed = [one.event for one in store.read() if isinstance(one.event, JobFailed)]
    assert len(failed) == 2


def test_a_cancelled_training_ends_with_its_worker_and_the_search_goes_on(store: EventStore, tmp_path: Path):
    answers: list[asyncio.Future[Recorded]] = []

    async def search() -> SearchState:
        executor = workers(tmp_path, "hang_once")
        runtime = Runtime(SearchState(), writer, executor, lambda: datetime.now(UTC))

        def listen(recorded: Recorded) -> None:
            if isinstance(recorded.event, JobAssigned) and recorded.event.subject_id == "s-0002":
                answers.append(runtime.ask(lambda state: answered(state, Cancel(job="s-0002"), "ann")))

        runtime.listeners.append(listen)
        return await runtime.run([run_started(configuration())])

    with EventWriter(store) as writer:
        state = asyncio.run(search())
    assert state.status == "completed"
    (cancelled,) = [one for one in store.read() if isinstance(one.event, JobCancelled)]
    assert answers[0].result() == cancelled
    assert state.candidates["s-0002"].outcome == "abandoned"
    lost = [one.event.message for one in store.read() if isinstance(one.event, WorkerLost)]
    assert len(lost) == 1
    assert "was killed: its job was cancelled" in lost[0]


def test_a_paused_search_waits_and_goes_on(store: EventStore):
    executor = SimulatedExecutor(["sim:0", "sim:1"])

    async def search() -> SearchState:
        runtime = Runtime(SearchState(), writer, executor, executor.now)

        def listen(recorded: Recorded) -> None:
            if isinstance(recorded.event, JobFinished) and recorded.event.job_id == "j-s-0002":
                runtime.ask(lambda state: answered(state, Pause(), "ann"))

        runtime.listeners.append(listen)
        running = asyncio.ensure_future(runtime.run([run_started(configuration())]))
        while not (runtime.state.paused and not any(runtime.state.devices.values())):
            await asyncio.sleep(0.01)
        before = len(list(store.read()))
        await asyncio.sleep(0.2)
        assert len(list(store.read())) == before
        refused = await runtime.ask(lambda state: answered(state, Pause(), "ann"))
        assert isinstance(refused.event, RequestRefused)
        await runtime.ask(lambda state: answered(state, Continue(), "ann"))
        return await running

    with EventWriter(store) as writer:
        assert asyncio.run(asyncio.wait_for(search(), 60)).status == "completed"


def test_requests_do_not_delay_a_simulation(store: EventStore):
    executor = SimulatedExecutor(["sim:0"], speed=200.0)  # a training takes about 0.3 s

    async def search() -> float:
        runtime = Runtime(SearchState(), writer, executor, executor.now)
        running = asyncio.ensure_future(runtime.run([run_started(configuration(), slots=1, window=1)]))
        for _ in range(40):
            await asyncio.sleep(0.05)
            await runtime.ask(lambda state: answered(state, Continue(), "ann"))
        runtime.ask_to_stop("ann")
        await running
        return (executor.now() - EPOCH).total_seconds()

    with EventWriter(store) as writer:
        assert asyncio.run(asyncio.wait_for(search(), 60)) > 200


def test_a_paused_search_can_be_stopped(store: EventStore):
    executor = SimulatedExecutor(["sim:0"])

    async def search() -> SearchState:
        runtime = Runtime(SearchState(), writer, executor, executor.now)
        running = asyncio.ensure_future(runtime.run([run_started(configuration(), slots=1, window=1)]))
        await runtime.ask(lambda state: answered(state, Pause(), "ann"))
        await asyncio.sleep(0.1)
        await runtime.ask_to_stop("ann")
        return await running

    with EventWriter(store) as writer:
        assert asyncio.run(asyncio.wait_for(search(), 60)).status == "stopped"


def test_a_request_that_comes_too_late_is_not_answered(store: EventStore):
    executor = SimulatedExecutor(["sim:0"])

    async def search() -> asyncio.Future[Recorded]:
        runtime = Runtime(SearchState(), writer, executor, executor.now)
        answers = []

        def listen(recorded: Recorded) -> None:
            if isinstance(recorded.event, RunFinished):
                answers.append(runtime.ask(lambda state: answered(state, Pause(), "ann")))

        runtime.listeners.append(listen)
        await runtime.run([run_started(configuration(), slots=1, window=1)])
        return answers[0]

    with EventWriter(store) as writer:
        assert asyncio.run(search()).cancelled()


def test_what_is_kept_of_a_training_goes_once_its_end_is_recorded(store: EventStore, tmp_path: Path):
    kept = [tmp_path / f"{job_id}.{'0' * 64}.unfinished" for job_id in ("j-s-0001", "j-s-0002", "j-x")]
    for file in kept:
        file.touch()
    state, _ = run(store, workers(tmp_path, "die_of_one"))
    assert (state.candidates["s-0001"].outcome, state.candidates["s-0002"].outcome) == ("done", "abandoned")
    assert [file.exists() for file in kept] == [False, False, True]


@pytest.mark.parametrize(
    ("mode", "patience", "reason"),
    [
        ("hang", Patience(silence_s=5), "no sign of life for"),
        ("stop", Patience(silence_s=5), "no sign of life for"),
        ("spin", Patience(least_s=3), "not done after"),
    ],
)
def test_a_worker_that_hangs_is_killed_and_its_training_tried_again(
    store: EventStore, tmp_path: Path, mode: str, patience: Patience, reason: str
):
    state, heard = run(store, workers(tmp_path, mode, patience=patience))
    assert state.status == "completed"
    (failed,) = [one.event for one in heard if isinstance(one.event, JobFailed)]
    assert (failed.job_id, failed.fault) == ("j-s-0002", "hang")
    assert reason in failed.message
    assert state.candidates["s-0002"].outcome == "done"


def test_a_worker_that_hangs_as_it_starts_is_replaced(store: EventStore, tmp_path: Path):
    state, heard = run(store, workers(tmp_path, "slow_start", patience=Patience(silence_s=5)))
    assert state.status == "completed"
    lost = [one.event.message for one in heard if isinstance(one.event, WorkerLost)]
    assert len(lost) == 2
    assert all("was killed: not ready after" in message for message in lost)


def test_a_run_that_is_asked_to_stop_lets_trainings_finish_or_keep_their_epoch(store: EventStore, tmp_path: Path):
    heard: list[Recorded] = []

    async def search() -> SearchState:
        executor = workers(tmp_path, "wait_for_stop")
        runtime = Runtime(SearchState(), writer, executor, lambda: datetime.now(UTC))

        def listen(recorded: Recorded) -> None:
            heard.append(recorded)
            if isinstance(recorded.event, JobAssigned) and recorded.event.subject_id == "s-0003":
                asyncio.get_running_loop().call_later(0.3, runtime.ask_to_stop, "somebody")

        runtime.listeners.append(listen)
        return await runtime.run([run_started(configuration())])

    with EventWriter(store) as writer:
        state = asyncio.run(search())
    after = [one.event for one in heard if one.seq > next(o.seq for o in heard if isinstance(o.event, StopRequested))]
    assert [type(event) for event in after] == [JobFinished, RunStopped]
    assert after[0].job_id == "j-s-0002"
    assert state.status == "stopped"
    assert (state.jobs["j-s-0002"].status, state.jobs["j-s-0003"].status) == ("finished", "interrupted")


def test_what_a_resumed_training_took_is_no_measure_of_whole_ones(store: EventStore, tmp_path: Path):
    state, heard = run(store, workers(tmp_path, "linger", patience=Patience(silence_s=30, least_s=0.1, factor=10)))
    assert state.status == "completed"
    assert [one.event.fault for one in heard if isinstance(one.event, JobFailed)] == ["crash"]


def test_a_template_the_workers_refuse_is_the_users_mistake(store: EventStore, tmp_path: Path):
    with pytest.raises(ConfigError, match="the template is odd"):
        run(store, workers(tmp_path, "setup_error"))


def test_workers_that_never_come_up_end_the_run_with_the_place_of_their_log(store: EventStore, tmp_path: Path):
    with pytest.raises(InfrastructureError, match=r"exit code 7.*worker-cpu"):
        run(store, workers(tmp_path, "die_at_once"))
