"""Reignition: a detector's backbone goes back to classification and comes out with the same tensors, retrained."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from detecting import forget
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmengine.config import Config
from PIL import Image

from lineage.events import EpochFinished, Event, JobFinished
from trainers import checkpoints, classification
from trainers.backbone import SpNet
from trainers.channel import Channel
from trainers.errors import CheckpointError, DataError, NonFiniteError
from trainers.faults import fault_of
from trainers.protocol import ClassificationJob, NetworkRef, WorkerSetup
from trainers.template import load_template
from trainers.unfinished import Unfinished

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def template(setup: WorkerSetup) -> Config:
    return load_template(setup.template)


@pytest.fixture(scope="module")
def network(setup: WorkerSetup, seed_network: NetworkRef) -> NetworkRef:
    """A detector's checkpoint, as far as a reignition reads it."""
    torch.manual_seed(0)
    net = SpNet(seed_network.code, seed_network.base_width)
    state = {f"backbone.{name}": tensor for name, tensor in net.state_dict().items()}
    state["rpn_head.rpn_cls.bias"] = torch.zeros(3)
    sha256 = checkpoints.save(setup.checkpoints, state, seed_network, "detector")
    return seed_network.model_copy(update={"checkpoint": sha256})


@pytest.fixture(scope="module")
def images(workdir: Path) -> Path:
    return workdir / "data/digits/classification"


def run(
    setup: WorkerSetup, template: Config, network: NetworkRef, data: Path, **changes: float
) -> tuple[list[Event], JobFinished]:
    events: list[Event] = []
    settings = {"epochs": 2, "batch_size": 16, "learning_rate": 0.002, "seed": 0} | changes
    job = ClassificationJob(job_id="r-0001", attempt=1, network=network, data=data, **settings)
    finished = classification.run(job, template, setup.checkpoints, torch.device("cpu"), Channel(events.append))
    forget(setup.checkpoints, job.job_id)
    return events, finished


def test_every_epoch_is_reported_and_the_loss_falls(
    setup: WorkerSetup, template: Config, network: NetworkRef, images: Path
) -> None:
    events, finished = run(setup, template, network, images, epochs=6)
    assert [event.epoch for event in events if isinstance(event, EpochFinished)] == [1, 2, 3, 4, 5, 6]
    assert events[-1].loss < events[0].loss
    assert finished.accuracy == events[-1].ap
    assert 0 <= finished.accuracy <= 1


def test_a_batch_in_parts_has_the_gradient_of_the_whole(
    setup: WorkerSetup, template: Config, network: NetworkRef, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn.BatchNorm2d, "forward", lambda _, images: images)  # its statistics are of a part alone
    losses = [[event.loss for event in run(setup, template, network, images, batch_parts=p)[0]] for p in (1, 2)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_its_checkpoint_is_the_backbone_alone_retrained(
    setup: WorkerSetup, template: Config, network: NetworkRef, images: Path
) -> None:
    _, finished = run(setup, template, network, images)
    state, described = checkpoints.load(setup.checkpoints, finished.checkpoint)
    before, _ = checkpoints.load(setup.checkpoints, network.checkpoint)
    assert (described.code, described.block_ids) == (network.code, network.block_ids)
    assert set(state) == {name for name in before if name.startswith("backbone.")}
    assert not torch.equal(state["backbone.conv1.weight"], before["backbone.conv1.weight"])


def test_a_training_that_was_cut_off_goes_on_after_its_last_epoch_and_ends_with_the_same_weights(
    setup: WorkerSetup, template: Config, network: NetworkRef, images: Path
) -> None:
    def cut(event: Event) -> None:
        if isinstance(event, EpochFinished) and event.epoch == 3:
            raise KeyError

    _, whole = run(setup, template, network, images, epochs=4)
    settings = {"network": network, "data": images, "epochs": 4, "batch_size": 16, "learning_rate": 0.002, "seed": 0}
    job = ClassificationJob(job_id="r-0001", attempt=1, **settings)
    with pytest.raises(KeyError):
        classification.run(job, template, setup.checkpoints, torch.device("cpu"), Channel(cut))
    events, rest = run(setup, template, network, images, epochs=4)
    assert [event.epoch for event in events if isinstance(event, EpochFinished)] == [3, 4]
    assert (rest.checkpoint, rest.accuracy) == (whole.checkpoint, whole.accuracy)


@pytest.mark.parametrize("lost", ["optimizer", "random"])
def test_what_was_kept_and_does_not_fit_is_given_up_and_the_training_begins_anew(
    setup: WorkerSetup, template: Config, network: NetworkRef, images: Path, lost: str
) -> None:
    settings = {"network": network, "data": images, "epochs": 2, "batch_size": 16, "learning_rate": 0.002, "seed": 0}
    unfinished = Unfinished(setup.checkpoints, ClassificationJob(job_id="r-0001", attempt=1, **settings), template)

    def keep(event: Event) -> None:
        if isinstance(event, EpochFinished) and event.epoch == 2:
            raise KeyError

    with pytest.raises(KeyError):
        classification.run(
            ClassificationJob(job_id="r-0001", attempt=1, **settings),
            template,
            setup.checkpoints,
            torch.device("cpu"),
            Channel(keep),
        )
    kept = unfinished.load()
    assert kept is not None
    del kept[lost]
    unfinished.save(kept)
    events, anew = run(setup, template, network, images)
    assert [event.epoch for event in events if isinstance(event, EpochFinished)] == [1, 2]
    assert anew.checkpoint == run(setup, template, network, images)[1].checkpoint


def test_a_broken_image_is_named_and_the_users_to_mend(
    setup: WorkerSetup, template: Config, network: NetworkRef, images: Path, tmp_path: Path
) -> None:
    shutil.copytree(images, tmp_path / "data")
    image = sorted((tmp_path / "data/train").glob("*/*.png"))[7]
    image.write_bytes(image.read_bytes()[:-40])
    with pytest.raises(DataError, match=f"{image} can't be used: OSError: ") as caught:
        run(setup, template, network, tmp_path / "data")
    assert fault_of(caught.value) == "data"


def test_same_job_gives_the_same_weights(
    setup: WorkerSetup, template: Config, network: NetworkRef, images: Path
) -> None:
    first, second, other = (run(setup, template, network, images, seed=seed)[1].checkpoint for seed in (3, 3, 4))
    assert first == second != other


@pytest.mark.parametrize("prefix", ["backbone.", ""], ids=["as today", "as reignitions were written before"])
def test_it_begins_from_a_backbone_alone_as_from_the_detector_that_has_it(
    setup: WorkerSetup, template: Config, network: NetworkRef, images: Path, prefix: str
) -> None:
    state, _ = checkpoints.load(setup.checkpoints, network.checkpoint)
    alone = {prefix + name.removeprefix("backbone."): t for name, t in state.items() if name.startswith("backbone.")}
    sha256 = checkpoints.save(setup.checkpoints, alone, network, "backbone")
    same = run(setup, template, network.model_copy(update={"checkpoint": sha256}), images)[1].checkpoint
    assert same == run(setup, template, network, images)[1].checkpoint


def test_without_a_checkpoint_the_backbone_is_trained_from_scratch(
    setup: WorkerSetup, template: Config, network: NetworkRef, seed_network: NetworkRef, images: Path
) -> None:
    events, finished = run(setup, template, seed_network, images, epochs=6, seed=5)
    assert events[-1].loss < events[0].loss
    state, described = checkpoints.load(setup.checkpoints, finished.checkpoint)
    assert described.code == seed_network.code
    assert all(tensor.isfinite().all() for tensor in state.values())
    assert finished.checkpoint != run(setup, template, network, images, epochs=6, seed=5)[1].checkpoint


@pytest.mark.parametrize("to_rgb", [True, False])
def test_images_are_normalised_as_the_detector_normalises_them(images: Path, to_rgb: bool) -> None:
    config = Config({"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4], "bgr_to_rgb": to_rgb})
    path = next(images.glob("train/*/*.png"))
    image = Image.open(path).convert("RGB")
    red_last = classification.v2.functional.pil_to_tensor(image).flip(0)  # as mmcv reads files
    expected = DetDataPreprocessor(**config.to_dict())({"inputs": [red_last]})["inputs"][0]
    torch.testing.assert_close(classification._normalised(config)(image), expected)


def test_missing_class_folders_are_the_users_to_mend(
    setup: WorkerSetup, template: Config, network: NetworkRef, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"expected .*/train/<class>/\*"):
        run(setup, template, network, tmp_path / "nowhere")


def test_class_in_one_split_only_is_named(
    setup: WorkerSetup, template: Config, network: NetworkRef, images: Path, tmp_path: Path
) -> None:
    shutil.copytree(images, tmp_path / "odd")
    shutil.rmtree(tmp_path / "odd/val/7")
    with pytest.raises(DataError, match="only in one of them: 7"):
        run(setup, template, network, tmp_path / "odd")


def test_diverging_training_is_stopped(setup: WorkerSetup, template: Config, network: NetworkRef, images: Path) -> None:
    with pytest.raises(NonFiniteError, match="epoch 1, iteration"):
        run(setup, template, network, images, learning_rate=1e30)


def test_checkpoint_of_another_network_is_refused(
    setup: WorkerSetup, template: Config, network: NetworkRef, images: Path
) -> None:
    wider = network.model_copy(update={"base_width": 16})
    with pytest.raises(CheckpointError, match="does not hold b_1-12-2-2"):
        run(setup, template, wider, images)
