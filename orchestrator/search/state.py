"""What the search knows: values folded from events by `orchestrator.search.evolve`. Treat every mapping as frozen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lineage.cost import Heads
from lineage.events import Fault, Inherited, JobKind, Phase
from lineage.morphism import Blueprint
from orchestrator.config import RunConfig
from orchestrator.sections import Step

Outcome = Literal["pending", "given", "done", "abandoned"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one training of a candidate came to."""

    ap: float
    checkpoint: str
    checkpoint_bytes: int | None = None
    params: int | None = None
    flops: int | None = None
    peak_memory_bytes: int | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network with weights of its own, once it is done: its AP is the mean over `seeds` trainings, `measurements` by
    their number, and its checkpoint that of the best of them. A given one was trained elsewhere, or not at all.
    """

    candidate_id: str
    step: str
    phase: Phase
    blueprint: Blueprint
    base_width: int
    ignition: int
    parent_id: str | None
    reignition_id: str | None
    morphisms: tuple[str, ...]
    params: int
    flops: int
    inherit: Inherited = "detector"
    seeds: int = 1
    control_id: str | None = None
    audited_id: str | None = None
    seed: int | None = None  # of the training elsewhere, where that is known
    run_seed: int = 0  # of the run when it was proposed, which its trainings come from
    outcome: Outcome = "pending"
    ap: float = 0.0
    checkpoint: str | None = None
    measurements: dict[int, Measurement] = field(default_factory=dict)
    ruled_out: bool = False

    @property
    def latency_ms(self) -> float | None:
        known = [one.latency_ms for one in self.measurements.values() if one.latency_ms is not None]
        return sum(known) / len(known) if known else None

    @property
    def is_result(self) -> bool:
        """Whether it is trained and within the limits."""
        return self.outcome == "done" and not self.ruled_out


@dataclass(frozen=True, slots=True)
class Reignition:
    """A backbone sent back to classification."""

    reignition_id: str
    step: str
    candidate_id: str
    trigger: str
    run_seed: int = 0
    outcome: Outcome = "pending"
    checkpoint: str | None = None
    checkpoint_bytes: int | None = None
    seeds: int = 1  # trained once, unlike a candidate


@dataclass(frozen=True, slots=True)
class Failure:
    """How one attempt ended, and where."""

    fault: Fault
    device: str


@dataclass(frozen=True, slots=True)
class Job:
    """One training of a candidate or reignition, over all its attempts; `repeat` counts the trainings from 1."""

    job_id: str
    kind: JobKind
    subject_id: str
    status: Literal["running", "interrupted", "failed", "finished"]
    attempt: int
    repeat: int = 1
    failures: tuple[Failure, ...] = ()
    device: str | None = None
    fault: Fault | None = None
    message: str = ""
    lost: str | None = None  # the checkpoint that the last attempt failed for


@dataclass(frozen=True, slots=True)
class FinishedStep:
    """A step of the pipeline that ended, and the candidate the next one starts from."""

    step: str
    best_candidate_id: str | None


@dataclass(frozen=True)
class SearchState:
    """Everything decided and known so far. `items` are the subjects of the current step in the order of decision, `given`
    the network that a step starts from, where it came from outside.
    """

    run_id: str = ""
    config: RunConfig | None = None
    seed: int = 0
    window: int = 1
    heads: Heads | None = None
    status: Literal["new", "running", "stopping", "stopped", "completed", "failed"] = "new"
    current_step: str | None = None
    finished_steps: tuple[FinishedStep, ...] = ()
    items: tuple[str, ...] = ()
    candidates: dict[str, Candidate] = field(default_factory=dict)
    reignitions: dict[str, Reignition] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)  # step -> candidate
    reignition_requested: bool = False
    paused: bool = False
    abandoned_in_a_row: tuple[str, ...] = ()  # candidates since one was trained, or the run resumed
    open_subjects: tuple[str, ...] = ()  # subjects without an outcome, in the order of decision
    devices: dict[str, str | None] = field(default_factory=dict)  # device -> job running there
    blocked: frozenset[str] = frozenset()  # devices that wait for room on the disk
    deleted: frozenset[str] = frozenset()  # checkpoints that went, to keep to what the configuration bounds
    lost: frozenset[str] = (
        frozenset()
    )  # checkpoints that a worker found missing or damaged since the run began or resumed

    @property
    def step(self) -> Step:
        """Configuration of the current step."""
        assert self.config is not None
        assert self.current_step is not None
        return self.config.steps[self.current_step]

    @property
    def origin(self) -> Candidate | None:
        """What the current step starts from: a given network, or the best of an earlier step; None: a code."""
        assert self.config is not None
        assert self.current_step is not None
        if given := self.given.get(self.current_step):
            return self.candidates[given]
        source = self.config.source_of(self.current_step)
        best = {done.step: done.best_candidate_id for done in self.finished_steps}.get(source or "")
        return self.candidates[best] if best else None

    @property
    def is_over(self) -> bool:
        return self.status in ("completed", "failed")

    @property
    def gone(self) -> frozenset[str]:
        """Checkpoints that no training can begin with."""
        return self.deleted | self.lost

    def subject(self, subject_id: str) -> Candidate | Reignition:
        return self.candidates.get(subject_id) or self.reignitions[subject_id]


def job_id_of(subject_id: str, repeat: int = 1) -> str:
    """``j-s-0007``, and ``j-s-0007-2`` for the second training of a candidate."""
    return f"j-{subject_id}" + (f"-{repeat}" if repeat > 1 else "")


def rank(candidate: Candidate) -> tuple[float, int, str]:
    """Sort key, best first: AP, then fewer FLOPs (AP is rounded by the evaluator, so ties happen), then id."""
    return -candidate.ap, candidate.flops, candidate.candidate_id
