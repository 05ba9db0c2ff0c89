"""A small but real search, from `init` to the fully trained model, killed with SIGKILL on the way."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real import COMMAND, SMALL, children, gone, init
from safetensors import safe_open
from simulated import rows

KILL_AFTER_JOBS = 2


@pytest.fixture(scope="module")
def killed_and_resumed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """A run folder, and the jobs that had finished when its orchestrator was killed."""
    folder = tmp_path_factory.mktemp("real")
    init(folder)
    overrides = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    command = [COMMAND, "start", "sp_nas.yml", "--run-dir", "run", *overrides]
    with (folder / "out").open("w") as out:
        live = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            limit = time.monotonic() + 150
            while (folder / "out").read_text().count(" AP ") < KILL_AFTER_JOBS:
                assert live.poll() is None, (folder / "out").read_text()
                assert time.monotonic() < limit, (folder / "out").read_text()
                time.sleep(0.1)
            started = children(live.pid)
            assert len(started) == 4  # two that train, the bus, and the SQL server
        finally:
            live.kill()
            live.wait()
    limit = time.monotonic() + 10
    while not all(gone(pid) for pid in started):
        assert time.monotonic() < limit, "a process outlived its orchestrator"
        time.sleep(0.1)
    finished = rows(
        folder / "run", "SELECT job_id, attempt, finished_at FROM jobs WHERE status = 'finished' ORDER BY 1"
    )
    resumed = subprocess.run(
        [COMMAND, "resume", "run"], cwd=folder / "run", capture_output=True, text=True, env=environment, timeout=30
    )
    assert resumed.returncode == 2  # a relative name is looked up where the user stands
    resumed = subprocess.run(
        [COMMAND, "resume", "run"], cwd=folder, capture_output=True, text=True, env=environment, timeout=280
    )
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    return folder / "run", finished


def test_no_finished_job_was_done_again(killed_and_resumed: tuple[Path, list[dict[str, Any]]]):
    run, before = killed_and_resumed
    assert len(before) >= KILL_AFTER_JOBS
    names = ", ".join(f"'{job['job_id']}'" for job in before)
    after = rows(run, f"SELECT job_id, attempt, finished_at FROM jobs WHERE job_id IN ({names}) ORDER BY 1")
    assert after == before
    assert (
        rows(
            run,
            "SELECT payload->>'job_id' AS job FROM events WHERE kind = 'JobFinished' GROUP BY 1 HAVING count(*) > 1",
        )
        == []
    )


def test_it_went_through_every_phase_and_a_stall_lit_the_backbone_again(
    killed_and_resumed: tuple[Path, list[dict[str, Any]]],
):
    run, _ = killed_and_resumed
    phases = rows(run, "SELECT phase, status FROM phases ORDER BY started_at")
    assert phases == [{"phase": phase, "status": "finished"} for phase in ("serial", "parallel", "fullytrain")]
    counts = {row["phase"]: row["n"] for row in rows(run, "SELECT phase, count(*) AS n FROM leaderboard GROUP BY 1")}
    assert counts == {"serial": 5, "parallel": 1, "fullytrain": 1}
    (stall,) = rows(run, "SELECT status, candidates_since_best >= n_stuck AS stalled, accuracy FROM reignitions")
    assert (stall["status"], stall["stalled"]) == ("finished", True)
    assert 0 < stall["accuracy"] <= 1


def test_every_candidate_but_the_seed_inherited_and_preserving_edges_preserve(
    killed_and_resumed: tuple[Path, list[dict[str, Any]]],
):
    run, _ = killed_and_resumed
    edges = rows(run, "SELECT * FROM inheritance")
    candidates = rows(run, "SELECT candidate_id FROM candidates")
    assert {edge["child_id"] for edge in edges} == {row["candidate_id"] for row in candidates} - {"s-0001"}
    for edge in edges:
        assert edge["tensors_copied"] > 0
        assert edge["residual"] is not None
        if edge["preserves_function"]:
            assert edge["residual"] <= 1e-4, edge
    assert any(edge["preserves_function"] for edge in edges)


def test_checkpoints_carry_their_code_and_the_best_model_lies_ready(
    killed_and_resumed: tuple[Path, list[dict[str, Any]]],
):
    run, _ = killed_and_resumed
    (best,) = rows(run, "SELECT arch, checkpoint FROM candidates WHERE phase = 'fullytrain'")
    assert (run / "models" / "f-0001.safetensors").is_file()
    with safe_open(run / "checkpoints" / f"{best['checkpoint']}.safetensors", framework="numpy") as file:
        assert best["arch"] in json.dumps(file.metadata())
    assert (run / "total_list_s.csv").read_text().count("\n") == 6
    assert (run / "total_list_p.csv").read_text().count("\n") == 2
    assert (run / "pareto_front.csv").is_file()
