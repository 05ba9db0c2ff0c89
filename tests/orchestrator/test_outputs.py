"""The files a run leaves: records hold all that was trained, front and models only what keeps the limits."""

import csv
import errno
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from given import configuration, folded
from given import run_started as configured
from histories import NOON, given_network, trainings
from limited import longest_file

from lineage import events as ev
from lineage.store import EventStore
from orchestrator.errors import InfrastructureError
from orchestrator.outputs import write_outputs
from orchestrator.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run from given weights, with repeats; one searched and one fully trained network break a limit."""
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    weights = hashlib.sha256(b"weights").hexdigest()
    (folder.checkpoints / f"{weights}.safetensors").write_bytes(b"weights")
    started, full = configured(configuration()), {"step": "fullytrain", "phase": "fullytrain"}
    over = [ev.CandidateRuledOut(candidate_id=one, limit="flops", measured=9, allowed=8) for one in ("s-2", "f-2")]
    with EventStore.create(folder.database) as store:
        store.append(
            [
                started,
                given_network("i-0001", ap=0.9),
                *trainings("s-1", "i-0001", aps=(0.2, 0.3), latency_ms=4.0, peak_memory_bytes=3 * 2**20, flops=5),
                *trainings("s-2", "s-1", ap=0.8, flops=9),
                *(
                    one.model_copy(update={"checkpoint": weights}) if isinstance(one, ev.JobFinished) else one
                    for one in trainings("f-1", "s-1", ap=0.5, **full)
                ),
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


def written_again(run: Path) -> None:
    folder = RunFolder(run)
    with EventStore.open(folder.database) as store:
        write_outputs(store, folder, folded([configured(configuration())]))


def test_a_model_that_is_half_there_is_put_in_place_again(run: Path) -> None:
    model = run / "models" / "f-1.safetensors"
    model.unlink()
    model.write_bytes(b"weig")
    written_again(run)
    assert model.read_bytes() == b"weights"


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"other")], ids=["missing", "damaged"])
def test_damaged_weights_are_handed_out_to_nobody(run: Path, damage: Callable[[Path], object]) -> None:
    model = run / "models" / "f-1.safetensors"
    model.unlink()
    (file,) = (run / "checkpoints").iterdir()
    damage(file)
    with pytest.raises(InfrastructureError, match="not every model can be handed out: f-1"):
        written_again(run)
    assert not model.exists()


@pytest.mark.parametrize("name", ["s.csv", "models"])
def test_an_output_in_whose_place_something_lies_is_told(run: Path, name: str) -> None:
    place = run / name
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    place.touch() if name == "models" else place.mkdir()
    with pytest.raises(InfrastructureError, match="its files can't be written"):
        written_again(run)


def test_a_record_without_room_is_named_and_not_left_half_written(run: Path) -> None:
    before = sorted(run.rglob("*"))
    with longest_file(9), pytest.raises(InfrastructureError, match=f"{run / 's.csv'}: File too large"):
        written_again(run)
    assert sorted(run.rglob("*")) == before


def test_a_model_without_room_is_named_and_not_left_half_written(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(*_: object) -> None:
        raise OSError

    def half(_: Path, target: Path) -> None:
        target.write_bytes(b"weig")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.link", no_link)
    monkeypatch.setattr("shutil.copyfile", half)
    model = run / "models" / "f-1.safetensors"
    model.unlink()
    with pytest.raises(InfrastructureError, match=f"{model}: No space left on device"):
        written_again(run)
    assert list(model.parent.iterdir()) == []
