"""The files a run leaves: records hold all that was trained, front and models only what keeps the limits."""

import csv
from pathlib import Path

import pytest
from given import configuration, folded
from given import run_started as configured
from histories import NOON, given_network, trainings

from lineage import events as ev
from lineage.store import EventStore
from orchestrator.outputs import write_outputs
from orchestrator.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run from given weights, with repeats; one searched and one fully trained network break a limit."""
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    (folder.checkpoints / f"{'c' * 64}.safetensors").write_text("weights")
    started, full = configured(configuration()), {"step": "fullytrain", "phase": "fullytrain"}
    over = [ev.CandidateRuledOut(candidate_id=one, limit="flops", measured=9, allowed=8) for one in ("s-2", "f-2")]
    with EventStore.create(folder.database) as store:
        store.append(
            [
                started,
                given_network("i-0001", ap=0.9),
                *trainings("s-1", "i-0001", aps=(0.2, 0.3), latency_ms=4.0, peak_memory_bytes=3 * 2**20, flops=5),
                *trainings("s-2", "s-1", ap=0.8, flops=9),
                *trainings("f-1", "s-1", ap=0.5, **full),
                *trainings("f-2", "s-1", ap=0.6, **full),
                *over,
            ],
            NOON,
        )
        write_outputs(store, folder, folded([started]))
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_record_has_every_trained_network_in_vegas_columns(run: Path) -> None:
    first, second = rows(run / "s.csv")
    vegas = "arch worker_id pre_arch pre_worker_id t_start t_end t_eclapsed memory fps mAP"
    assert " ".join(first) == f"{vegas} ruled_out"
    assert [first[column] for column in ("worker_id", "pre_worker_id", "memory", "fps", "mAP")] == [
        "s-1",
        "i-0001",
        "3",
        "250.0",
        "0.25",
    ]
    assert (second["worker_id"], second["mAP"]) == ("s-2", "0.8")
    assert (first["ruled_out"], second["ruled_out"]) == ("", "flops 9 > 8")


def test_what_breaks_a_limit_is_neither_on_the_front_nor_among_the_models(run: Path) -> None:
    assert [row["candidate_id"] for row in rows(run / "pareto_front.csv")] == ["s-1"]
    assert [path.name for path in (run / "models").iterdir()] == ["f-1.safetensors"]


def test_a_step_that_trained_nothing_has_no_record(run: Path) -> None:
    assert not (run / "p.csv").exists()
