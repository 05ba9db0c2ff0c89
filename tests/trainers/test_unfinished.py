"""What is kept of a training in the middle: whole or not at all, and for the same job alone."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from trainers.errors import CheckpointError
from trainers.protocol import DetectionJob, NetworkRef
from trainers.unfinished import Unfinished, random_state, set_random_state

NETWORK = NetworkRef(candidate_id="s-1", code="b_1_0", block_ids=(("s-1.1",),), base_width=8)
JOB = DetectionJob(job_id="j-s-0001", attempt=1, network=NETWORK, parent=None, epochs=3, seed=7)
TEMPLATE = Config({"optim_wrapper": {"type": "OptimWrapper", "clip": max}})
STATE = {
    "weights": {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(True)},
    "optimizer": {
        "state": {0: {"step": torch.tensor(3.0)}, 1: {"step": 4}},
        "groups": [{"lr": 0.1, "betas": (0.9, 0.99)}],
    },
    "none": None,
    "epoch": 2,
}


def test_a_state_comes_back_as_it_was_with_keys_that_are_no_strings(tmp_path: Path) -> None:
    Unfinished(tmp_path, JOB, TEMPLATE).save(STATE)
    found = Unfinished(tmp_path, JOB.model_copy(update={"attempt": 2}), TEMPLATE).load()
    assert found is not None
    assert torch.equal(found["weights"]["a"], STATE["weights"]["a"])
    assert found["weights"]["b"].dtype == torch.bool
    assert found["optimizer"]["state"][0]["step"] == 3
    assert found["optimizer"]["groups"] == [{"lr": 0.1, "betas": [0.9, 0.99]}]
    assert (found["none"], found["epoch"]) == (None, 2)


def test_only_the_last_state_is_kept_and_none_once_it_is_removed(tmp_path: Path) -> None:
    unfinished = Unfinished(tmp_path, JOB, TEMPLATE)
    for epoch in (1, 2, 2):
        unfinished.save({"epoch": epoch})
        assert len(list(tmp_path.iterdir())) == 1
    assert unfinished.load() == {"epoch": 2}
    unfinished.remove()
    assert not list(tmp_path.iterdir())
    assert unfinished.load() is None


@pytest.mark.parametrize("change", [{"seed": 8}, {"batch_parts": 2}, {"epochs": 4}])
def test_another_training_of_the_same_name_begins_anew(tmp_path: Path, change: dict[str, int]) -> None:
    Unfinished(tmp_path, JOB, TEMPLATE).save(STATE)
    assert Unfinished(tmp_path, JOB.model_copy(update=change), TEMPLATE).load() is None
    assert not list(tmp_path.iterdir())


def test_a_training_by_another_template_begins_anew(tmp_path: Path) -> None:
    Unfinished(tmp_path, JOB, TEMPLATE).save(STATE)
    changed = Config({"optim_wrapper": {"type": "AmpOptimWrapper", "clip": max}})
    assert Unfinished(tmp_path, JOB, changed).load() is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_damaged_file_is_not_used(tmp_path: Path, place: int) -> None:
    Unfinished(tmp_path, JOB, TEMPLATE).save(STATE)
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    assert Unfinished(tmp_path, JOB, TEMPLATE).load() is None
    file.write_bytes(content[:50])
    assert Unfinished(tmp_path, JOB, TEMPLATE).load() is None


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="keeping the state of j-s-0001"):
        Unfinished(tmp_path / "file", JOB, TEMPLATE).save(STATE)


def test_all_generators_go_on_where_they_were(tmp_path: Path) -> None:
    def draws() -> list[float]:
        return [
            random.random(),
            random.gauss(),
            float(np.random.rand()),
            float(np.random.randn()),
            float(torch.rand(1)),
        ]

    cpu = torch.device("cpu")
    draws()
    Unfinished(tmp_path, JOB, TEMPLATE).save(random_state(cpu))
    expected = draws()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(5)
    kept = Unfinished(tmp_path, JOB, TEMPLATE).load()
    assert kept is not None
    set_random_state(kept, cpu)
    assert draws() == expected
