"""What the search knows: values folded from events by `orchestrator.search.evolve`. Treat every mapping as frozen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lineage.events import Fault, JobKind, Phase
from lineage.morphism import Blueprint
from orchestrator.config import RunConfig
from orchestrator.sections import Step

Outcome = Literal["pending", "done", "abandoned"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network with weights of its own (once done)."""

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
    outcome: Outcome = "pending"
    ap: float = 0.0
    checkpoint: str | None = None


@dataclass(frozen=True, slots=True)
class Reignition:
    """A backbone sent back to classification."""

    reignition_id: str
    step: str
    candidate_id: str
    outcome: Outcome = "pending"
    checkpoint: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """The training of one candidate or reignition, over all its attempts."""

    job_id: str
    kind: JobKind
    subject_id: str
    status: Literal["running", "interrupted", "failed", "finished"]
    attempt: int
    failures: int = 0
    device: str | None = None
    fault: Fault | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class FinishedStep:
    """A step of the pipeline that ended, and the candidate the next one starts from."""

    step: str
    best_candidate_id: str | None


@dataclass(frozen=True)
class SearchState:
    """Everything decided and known so far. `items` are the subjects of the current step in the order of decision."""

    run_id: str = ""
    config: RunConfig | None = None
    seed: int = 0
    window: int = 1
    status: Literal["new", "running", "stopped", "completed", "failed"] = "new"
    current_step: str | None = None
    finished_steps: tuple[FinishedStep, ...] = ()
    items: tuple[str, ...] = ()
    candidates: dict[str, Candidate] = field(default_factory=dict)
    reignitions: dict[str, Reignition] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    open_subjects: tuple[str, ...] = ()  # subjects without an outcome, in the order of decision
    devices: dict[str, str | None] = field(default_factory=dict)  # device -> job running there

    @property
    def step(self) -> Step:
        """Configuration of the current step."""
        assert self.config is not None
        assert self.current_step is not None
        return self.config.steps[self.current_step]

    @property
    def is_over(self) -> bool:
        return self.status in ("completed", "failed")

    def subject(self, subject_id: str) -> Candidate | Reignition:
        return self.candidates.get(subject_id) or self.reignitions[subject_id]


def rank(candidate: Candidate) -> tuple[float, int, str]:
    """Sort key, best first: AP, then fewer FLOPs (AP is rounded by the evaluator, so ties happen), then id."""
    return -candidate.ap, candidate.flops, candidate.candidate_id
