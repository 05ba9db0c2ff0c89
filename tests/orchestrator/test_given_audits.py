"""The candidates of an audit, and their parents, are given from the audited run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from elsewhere import given, log_of, write_run
from given import SPACE, TRAINER, configuration, folded, network_given

from lineage.events import (
    Event,
    JobAssigned,
    JobFailed,
    JobFinished,
)
from orchestrator.config import RunConfig
from orchestrator.config_faults import parse_config
from orchestrator.errors import ConfigError
from orchestrator.jobs import job_of
from orchestrator.run_folder import RunFolder


def audit(*candidates: str, run: str = "old") -> RunConfig:
    step = {"audit": {"run": run, "candidates": list(candidates)}, "search_space": SPACE, "trainer": TRAINER}
    return parse_config({"pipeline": ["check"], "check": step}, "test")


def test_an_audit_is_given_its_candidates_and_their_parents_once_each_under_their_own_names(
    tmp_path: Path, old_run: RunFolder, old_log: list[Event]
):
    state = folded(old_log)
    children = [one for one in state.candidates.values() if one.parent_id is not None and one.phase == "serial"]
    parents = {one.parent_id for one in children}
    networks = given(audit(*(one.candidate_id for one in reversed(children))), tmp_path)
    names = [network.candidate_id for network in networks]
    assert sorted(names) == sorted({one.candidate_id for one in children} | parents)
    for network in networks:
        theirs = state.candidates[network.candidate_id]
        assert (network.step, network.phase, network.source) == ("check", "audit", "old")
        assert (network.code, network.block_ids) == (theirs.blueprint.genotype.code, theirs.blueprint.block_ids)
        assert (network.ap, network.checkpoint, network.parent_id) == (theirs.ap, theirs.checkpoint, theirs.parent_id)
        assert network.morphisms == theirs.morphisms
        assert network.parent_id is None or names.index(network.parent_id) < names.index(network.candidate_id)
        assert (tmp_path / "new" / "checkpoints" / f"{network.checkpoint}.safetensors").exists()


def test_an_audited_parent_has_no_parent_that_is_not_given(tmp_path: Path, old_run: RunFolder, old_log: list[Event]):
    candidates = folded(old_log).candidates.values()
    ids = {one.candidate_id: one.parent_id for one in candidates if one.phase == "serial"}
    grandchild = next(one for one, parent in ids.items() if parent and ids[parent])
    parent, child = given(audit(grandchild), tmp_path)
    assert (parent.candidate_id, parent.parent_id, parent.morphisms) == (child.parent_id, None, ())


def test_an_audit_knows_the_seed_that_a_candidate_was_trained_from(tmp_path: Path):
    log = log_of(configuration(seeds_per_candidate=3, max_sample=3), until=12)
    write_run(tmp_path / "old", log)
    seeds = seeds_of_the_best(log)
    child = next(one for one, parent in parents_of(log).items() if parent and one in seeds)
    for network in given(audit(child), tmp_path):
        assert network.seed == seeds[network.candidate_id]


def test_a_training_that_failed_before_it_went_well_has_the_seed_of_the_last_attempt(tmp_path: Path):
    state, log = folded([]), []
    for event in log_of(until=6):
        if isinstance(event, JobAssigned) and event.subject_id == "s-0002" and event.attempt == 1:
            log += [event, JobFailed(job_id=event.job_id, attempt=1, fault="crash", message="killed")]
            event = event.model_copy(update={"attempt": 2})
        elif getattr(event, "job_id", None) == "j-s-0002":
            event = event.model_copy(update={"attempt": 2})
        log.append(event)
    write_run(tmp_path / "old", log)
    state = folded(log)
    assert state.candidates["s-0002"].outcome == "done"
    _, child = given(audit("s-0002"), tmp_path)
    assert child.seed == seeds_of_the_best(log)["s-0002"]


def parents_of(log: Sequence[Event]) -> dict[str, str | None]:
    return {one.candidate_id: one.parent_id for one in folded(log).candidates.values() if one.outcome == "done"}


def seeds_of_the_best(log: Sequence[Event]) -> dict[str, int]:
    """The seed in the job message of the training that each candidate's checkpoint is of."""
    assigned: dict[tuple[str, int], int] = {}
    seeds, state = {}, folded(log)
    for place, event in enumerate(log):
        if isinstance(event, JobAssigned):
            assigned[event.job_id, event.attempt] = job_of(folded(log[: place + 1]), event, Path()).seed
        if isinstance(event, JobFinished):
            job = state.jobs[event.job_id]
            candidate = state.candidates.get(job.subject_id)
            if candidate is not None and candidate.measurements[job.repeat].ap == max(
                one.ap for one in candidate.measurements.values()
            ):
                seeds.setdefault(job.subject_id, assigned[event.job_id, event.attempt])
    return seeds


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        ("s-0001", "not inherited from another candidate, so there is nothing to audit"),
        ("s-9999", "there is no such candidate"),
        ("i-0001", r"it was not trained there \(given\)"),
    ],
)
def test_what_can_not_be_audited_is_refused_with_the_reason(tmp_path: Path, candidate: str, expected: str):
    log = log_of(until=4)
    write_run(tmp_path / "old", [log[0], network_given("parallel"), *log[1:]])
    with pytest.raises(ConfigError, match=rf"check.audit.candidates: {candidate} of run .*old: .*{expected}"):
        given(audit(candidate), tmp_path)


def test_an_audit_of_no_run_names_those_there_are(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"check.audit.run: 'gone' is no run folder"):
        given(audit("s-0002", run="gone"), tmp_path)
