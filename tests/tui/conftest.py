"""Made-up runs as recorded events, ten seconds apart, and eyes for what a running app shows.

Test modules are no package, so they get this module as the fixture `made_up`.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from types import ModuleType

import pytest
from textual.app import App
from textual.pilot import Pilot

from lineage.errors import StoreError
from lineage.events import (
    CandidateAbandoned,
    CandidateProposed,
    CandidateRuledOut,
    EpochFinished,
    Event,
    JobAssigned,
    JobFailed,
    JobFinished,
    JobKind,
    NetworkGiven,
    PhaseFinished,
    PhaseStarted,
    Recorded,
    ReignitionProposed,
    RequestRefused,
    RunContinued,
    RunFinished,
    RunPaused,
    RunStarted,
    WeightsInherited,
    WorkerStarted,
)
from lineage.store import EventStore
from tui.app import SpnasApp
from tui.source import Answer, Contact, News, SourceError

START = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE_S = 10
CODE = "b_11-21-21-21_0-0-0-0"


class StandIn:
    """A run as the app is given it: what is told, and what was asked of it. Answers SQL from a store, if there is one."""

    def __init__(self, events: list[Event] = (), *more: News, store: EventStore | None = None) -> None:
        self.name = "runs/digits"
        self.asked: list[dict[str, object]] = []
        self.exported: list[tuple[str, str]] = []
        self.cancelled = 0
        self._store = store
        self._news: asyncio.Queue[News] = asyncio.Queue()
        self._told = 0
        self.tell(*events)
        for one in more or (Contact("live"),):
            self._news.put_nowait(one)

    def tell(self, *events: Event) -> None:
        """These happen next."""
        if events:
            self._news.put_nowait(recorded(list(events), self._told + 1))
            self._told += len(events)

    def say(self, news: News) -> None:
        self._news.put_nowait(news)

    async def news(self):
        while True:
            yield await self._news.get()

    async def query(self, statement: str, most_rows: int) -> Answer:
        try:
            if "forever" in statement:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self._store is None:
            raise SourceError("its tables are on the machine where it runs")
        try:
            found = self._store.query(statement)
        except StoreError as error:
            raise SourceError(str(error)) from error
        return Answer(tuple(found.columns), found.rows[:most_rows], len(found.rows) <= most_rows)

    def is_file(self, file: str) -> bool:
        return file == "there.csv"

    async def export(self, statement: str, file: str) -> None:
        if file.endswith(".exe"):
            raise SourceError(f"{file}: expected a name that ends with .csv, .json or .parquet")
        self.exported.append((statement, file))

    async def ask(self, request: dict[str, object]) -> Recorded:
        self.asked.append(request)
        match request["request"]:
            case "pause":
                event: Event = RunPaused(by="me")
            case "continue":
                event = RunContinued(by="me")
            case "stop":
                raise SourceError("the run did not answer within 10 s")
            case other:
                event = RequestRefused(request=str(other), reason="not now", by="me")
        return recorded([event], self._told + 1)[0]

    async def why(self, candidate_id: str) -> str:
        return f"{candidate_id} was proposed because"

    async def log(self, candidate_id: str, most_lines: int) -> list[str]:
        return [f"== logs/j-{candidate_id}.log", "epoch 1"]


def app_of(source: StandIn, last_seq: int = 22) -> SpnasApp:
    """The app, three seconds after an event."""
    return SpnasApp(source, clock=lambda: at(last_seq) + timedelta(seconds=3))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question may be answered as soon as it is painted."""
    monkeypatch.setattr("tui.screens.confirm.UNSEEN_S", 0.0)


@pytest.fixture
def made_up() -> ModuleType:
    return sys.modules[__name__]


def at(seq: int) -> datetime:
    return START + timedelta(seconds=10 * (seq - 1))


def recorded(events: list[Event], first_seq: int = 1) -> list[Recorded]:
    return [
        Recorded(seq=seq, event_id=f"e-{seq}", ts=at(seq), event=event) for seq, event in enumerate(events, first_seq)
    ]


def run_started(simulated: bool = False, **config: object) -> RunStarted:
    return RunStarted(run_id="digits", seed=7, simulated=simulated, slots=2, window=3, config=config)


def proposed(
    candidate_id: str, parent_id: str | None = None, *morphisms: str, step: str = "serial", **changes: object
) -> CandidateProposed:
    fields = {
        "phase": {"s": "serial", "p": "parallel", "f": "fullytrain"}[candidate_id[0]],
        "code": CODE,
        "block_ids": (("s-0001.1", "s-0001.2"),),
        "base_width": 16,
        "params": 713_204,
        "flops": 133_000_000,
    }
    return CandidateProposed(
        candidate_id=candidate_id, step=step, parent_id=parent_id, morphisms=morphisms, **{**fields, **changes}
    )


def assigned(
    job_id: str,
    subject_id: str,
    device: str = "cpu:0",
    kind: JobKind = "fast_train",
    attempt: int = 1,
    repeat: int = 1,
) -> JobAssigned:
    return JobAssigned(
        job_id=job_id, job_kind=kind, subject_id=subject_id, device=device, attempt=attempt, repeat=repeat
    )


def epoch(job_id: str, number: int, epochs: int, ap: float | None = None, attempt: int = 1) -> EpochFinished:
    return EpochFinished(job_id=job_id, attempt=attempt, epoch=number, epochs=epochs, loss=0.5, ap=ap)


def finished(job_id: str, ap: float | None = None, attempt: int = 1, accuracy: float | None = None) -> JobFinished:
    return JobFinished(job_id=job_id, attempt=attempt, checkpoint="ab" * 32, ap=ap, accuracy=accuracy)


def failed(job_id: str, attempt: int = 1) -> JobFailed:
    return JobFailed(job_id=job_id, attempt=attempt, fault="out_of_memory", message="no memory left\ntraceback")


def inherited(job_id: str, child_id: str, parent_id: str) -> WeightsInherited:
    counts = {"tensors_copied": 120, "tensors_adapted": 0, "tensors_new": 11, "tensors_dropped": 0}
    return WeightsInherited(job_id=job_id, attempt=1, child_id=child_id, parent_id=parent_id, residual=2.4e-7, **counts)


def running_run(simulated: bool = False) -> list[Event]:
    """Two serial candidates trained, one abandoned, a reignition, the candidate after it in training."""
    config = {
        "pipeline": ["serial", "parallel", "fullytrain"],
        "serial": {"search_algorithm": {"max_sample": 6}},
        "parallel": {"search_algorithm": {"max_sample": 3}},
    }
    return [
        run_started(simulated, **config),
        WorkerStarted(device="cpu:0", name="CPU"),
        WorkerStarted(device="cpu:1", name="CPU"),
        PhaseStarted(step="serial", phase="serial"),
        proposed("s-0001"),
        assigned("j-0001", "s-0001"),
        finished("j-0001", 0.021),
        proposed("s-0002", "s-0001", "swap(0|1 +1)", code="b_111-1-21-21_0-0-0-0"),
        assigned("j-0002", "s-0002"),
        inherited("j-0002", "s-0002", "s-0001"),
        proposed("s-0003", "s-0001", "expand(1@1 +2)", code="b_11-2111-21-21_0-0-0-0"),
        assigned("j-0003", "s-0003", "cpu:1"),
        finished("j-0002", 0.104),
        failed("j-0003"),
        CandidateAbandoned(candidate_id="s-0003", fault="out_of_memory", message="no memory left"),
        ReignitionProposed(
            reignition_id="r-0001",
            step="serial",
            candidate_id="s-0002",
            n_stuck=2,
            candidates_since_best=2,
            best_ap=0.104,
            min_delta=0.005,
        ),
        assigned("j-0004", "r-0001", kind="reignite"),
        epoch("j-0004", 1, 1, 0.93),
        finished("j-0004", accuracy=0.93),
        proposed("s-0004", "s-0002", "reignite", reignition_id="r-0001", ignition=1, code="b_111-1-21-21_0-0-0-0"),
        assigned("j-0005", "s-0004", "cpu:1"),
        epoch("j-0005", 1, 4, 0.112),
    ]


def repeated_run() -> list[Event]:
    """From given weights, two seeds a candidate: one ruled out, a control, and a candidate with one training to go."""
    section = {"search_algorithm": {"max_sample": 4, "seeds_per_candidate": 2}}

    def trained(candidate: CandidateProposed, *aps: float) -> list[Event]:
        events: list[Event] = [candidate]
        for repeat, ap in enumerate(aps, 1):
            job_id = f"j-{candidate.candidate_id}-{repeat}"
            events += [assigned(job_id, candidate.candidate_id, repeat=repeat), finished(job_id, ap)]
        return events

    root = proposed("s-0001", "i-0001", "continue", seeds=2)
    control = proposed("s-0002", "s-0001", "continue", seeds=2)
    heavy = proposed("s-0003", "s-0001", "expand(0@1 +1)", seeds=2, control_id="s-0002")
    ongoing = proposed("s-0004", "s-0001", "expand(1@1 +1)", seeds=2, control_id="s-0002")
    return [
        run_started(pipeline=["serial"], serial=section),
        NetworkGiven(
            candidate_id="i-0001",
            step="serial",
            phase="serial",
            source="resnet18.pth",
            code=CODE,
            block_ids=(("i-0001.1", "i-0001.2"),),
            base_width=64,
            checkpoint="ab" * 32,
            params=1,
            flops=1,
        ),
        WorkerStarted(device="cpu:0", name="CPU"),
        PhaseStarted(step="serial", phase="serial"),
        *trained(root, 0.1, 0.2),
        *trained(control, 0.2, 0.21),
        *trained(heavy, 0.4, 0.5),
        CandidateRuledOut(candidate_id="s-0003", limit="latency", measured=23.1, allowed=20),
        *trained(ongoing, 0.3),
        assigned("j-s-0004-2", "s-0004", repeat=2),
        epoch("j-s-0004-2", 1, 4, 0.112),
    ]


def whole_run(simulated: bool = False) -> list[Event]:
    """As `running_run`, and on to the end."""
    return [
        *running_run(simulated),
        finished("j-0005", 0.2),
        PhaseFinished(step="serial", phase="serial", reason="growth stalled", best_candidate_id="s-0004"),
        PhaseStarted(step="parallel", phase="parallel"),
        proposed("p-0001", "s-0004", "branch(0)", step="parallel", code="b_111-1-21-21_1-0-0-0"),
        assigned("j-0006", "p-0001"),
        finished("j-0006", 0.25),
        PhaseFinished(step="parallel", phase="parallel", reason="space exhausted", best_candidate_id="p-0001"),
        PhaseStarted(step="fullytrain", phase="fullytrain"),
        proposed("f-0001", "p-0001", "full_train", step="fullytrain", code="b_111-1-21-21_1-0-0-0"),
        assigned("j-0007", "f-0001", kind="full_train"),
        epoch("j-0007", 1, 2, 0.3),
        epoch("j-0007", 2, 2, 0.41),
        finished("j-0007", 0.412),
        PhaseFinished(step="fullytrain", phase="fullytrain", reason="1 model trained", best_candidate_id="f-0001"),
        RunFinished(outcome="completed", reason="end of the pipeline", best_candidate_id="f-0001"),
    ]


def screen_text(app: App[None]) -> str:
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())


async def expect(pilot: Pilot[None], *texts: str, pressing: str | None = None) -> str:
    """The screen once all `texts` are on it; meanwhile a key may be pressed again and again."""
    for _ in range(PATIENCE_S * 50):
        shown = screen_text(pilot.app)
        if all(text in shown for text in texts):
            return shown
        if pressing:
            await pilot.press(pressing)
        await pilot.pause(0.02)
    pytest.fail(f"{texts} did not come on the screen within {PATIENCE_S} s:\n{screen_text(pilot.app)}")
