"""One candidate's training: what is inherited, reported, measured and repeated exactly."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from mmengine.logging import MessageHub

from lineage.architecture import Genotype
from lineage.events import EpochFinished, Event, JobFinished, WeightsInherited
from lineage.morphism import AddStage, Blueprint, Branch, Expand, Morphism, Swap, apply
from trainers import checkpoints, runner
from trainers.detection import DetectionTrainer
from trainers.errors import DataError, NonFiniteError, TemplateError, TrainerError
from trainers.protocol import DetectionJob, NetworkRef, WorkerSetup
from trainers.template import load_template
from trainers.worker import fault

pytestmark = pytest.mark.usefixtures("in_workdir")
torch.set_num_threads(1)


@dataclass
class Outcome:
    events: list[Event]
    finished: JobFinished


def opened(setup: WorkerSetup, workdir: Path, changes: str = "") -> DetectionTrainer:
    """A trainer of the template with `changes` appended."""
    template = workdir / "changed.py"
    template.write_text(setup.template.read_text() + changes)
    return DetectionTrainer(setup, load_template(template), torch.device("cpu"))


def train(
    trainer: DetectionTrainer,
    network: NetworkRef,
    parent: NetworkRef | None = None,
    *,
    seed: int = 0,
    epochs: int = 1,
    backbone_checkpoint: str | None = None,
) -> Outcome:
    events: list[Event] = []
    job = DetectionJob(
        job_id="j-0001",
        attempt=1,
        network=network,
        parent=parent,
        backbone_checkpoint=backbone_checkpoint,
        epochs=epochs,
        seed=seed,
    )
    return Outcome(events, trainer.run(job, events.append))


def child_of(parent: NetworkRef, *morphisms: Morphism) -> NetworkRef:
    blueprint = Blueprint(Genotype.parse(parent.code), parent.block_ids)
    for morphism in morphisms:
        blueprint = apply(blueprint, morphism, "s-0002")
    return NetworkRef(
        candidate_id="s-0002",
        code=blueprint.genotype.code,
        block_ids=blueprint.block_ids,
        base_width=parent.base_width,
    )


@pytest.fixture(scope="module")
def trainer(setup: WorkerSetup, workdir: Path) -> DetectionTrainer:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workdir)
        return opened(setup, workdir)


@pytest.fixture(scope="module")
def seed(trainer: DetectionTrainer, seed_network: NetworkRef, workdir: Path) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workdir)
        return train(trainer, seed_network, epochs=2)


@pytest.fixture(scope="module")
def parent(seed: Outcome, seed_network: NetworkRef) -> NetworkRef:
    return seed_network.model_copy(update={"checkpoint": seed.finished.checkpoint})


def test_training_reports_every_epoch_and_what_the_network_costs(seed: Outcome) -> None:
    assert [(event.kind, event.epoch, event.epochs) for event in seed.events] == [
        ("EpochFinished", 1, 2),
        ("EpochFinished", 2, 2),
    ]
    assert all(event.loss > 0 and 0 <= event.ap <= 1 for event in seed.events)
    finished = seed.finished
    assert finished.ap == seed.events[-1].ap
    assert finished.ap50 >= finished.ap
    assert min(finished.params, finished.flops, finished.latency_ms, finished.peak_memory_bytes) > 0


def test_checkpoint_holds_the_whole_detector_and_its_code(
    seed: Outcome, seed_network: NetworkRef, setup: WorkerSetup
) -> None:
    state, network = checkpoints.load(setup.checkpoints, seed.finished.checkpoint)
    assert network == seed_network.model_copy(update={"checkpoint": seed.finished.checkpoint})
    assert {name.split(".")[0] for name in state} == {"backbone", "neck", "rpn_head", "roi_head"}


def test_same_job_gives_the_same_weights_and_another_seed_does_not(
    trainer: DetectionTrainer, seed: Outcome, seed_network: NetworkRef
) -> None:
    assert train(trainer, seed_network, epochs=2).finished.checkpoint == seed.finished.checkpoint
    assert train(trainer, seed_network, epochs=2, seed=1).finished.checkpoint != seed.finished.checkpoint


@pytest.mark.parametrize(
    "morphisms",
    [(Expand(1, 1, 2),), (AddStage(),), (Branch(1), Branch(2)), (Expand(0, 1, 1), AddStage(), Branch(1))],
    ids=["expand", "add stage", "branch", "all"],
)
def test_child_of_a_preserving_morphism_has_its_parents_outputs(
    trainer: DetectionTrainer, parent: NetworkRef, morphisms: tuple[Morphism, ...]
) -> None:
    inherited = train(trainer, child_of(parent, *morphisms), parent).events[0]
    assert isinstance(inherited, WeightsInherited)
    assert (inherited.child_id, inherited.parent_id) == ("s-0002", "s-0001")
    assert inherited.tensors_copied > 0
    assert inherited.tensors_new + inherited.tensors_adapted > 0
    assert inherited.residual <= 1e-4


def test_swap_says_how_far_the_child_is_from_its_parent(trainer: DetectionTrainer, parent: NetworkRef) -> None:
    inherited = train(trainer, child_of(parent, Swap(1, -1)), parent).events[0]
    assert inherited.tensors_copied > 0
    assert inherited.residual is None or inherited.residual > 0


def test_training_starts_from_the_inherited_weights(
    trainer: DetectionTrainer,
    parent: NetworkRef,
    setup: WorkerSetup,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_start: list[dict[str, torch.Tensor]] = []

    def keep(_progress: runner.Progress, engine: runner.Runner) -> None:
        at_start.append({name: tensor.clone() for name, tensor in engine.model.state_dict().items()})

    monkeypatch.setattr(runner.Progress, "before_train_epoch", keep)
    monkeypatch.setattr(runner.Progress, "after_val_epoch", lambda *_, **__: None)
    train(trainer, child_of(parent), parent)
    state, _ = checkpoints.load(setup.checkpoints, parent.checkpoint)
    assert at_start[0].keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in at_start[0].items())


def test_after_a_reignition_the_backbone_is_the_reignited_one(
    trainer: DetectionTrainer, parent: NetworkRef, setup: WorkerSetup
) -> None:
    state, _ = checkpoints.load(setup.checkpoints, parent.checkpoint)
    reignited = {name.removeprefix("backbone."): t * 1.5 for name, t in state.items() if name.startswith("backbone.")}
    sha256 = checkpoints.save(setup.checkpoints, reignited, parent, "backbone")
    events = train(trainer, child_of(parent), parent, backbone_checkpoint=sha256).events
    assert events[0].residual > 1e-4
    assert events[0].tensors_new == events[0].tensors_dropped == 0


def test_parent_without_weights_is_an_error_that_names_it(trainer: DetectionTrainer, seed_network: NetworkRef) -> None:
    with pytest.raises(TrainerError, match="s-0001 has no checkpoint"):
        train(trainer, child_of(seed_network), seed_network)


def test_diverging_training_is_stopped_within_its_first_epoch(
    setup: WorkerSetup, workdir: Path, seed_network: NetworkRef
) -> None:
    diverging = opened(setup, workdir, "optim_wrapper.update(clip_grad=None, optimizer=dict(type='SGD', lr=1e30))\n")
    events: list[Event] = []
    job = DetectionJob(job_id="j", attempt=1, network=seed_network, parent=None, epochs=1, seed=0)
    with pytest.raises(NonFiniteError, match=r"epoch 1, iteration|no longer finite"):
        diverging.run(job, events.append)
    assert events == []


def test_detector_that_finds_nothing_has_ap_zero(setup: WorkerSetup, workdir: Path, seed_network: NetworkRef) -> None:
    blind = opened(setup, workdir, "model['test_cfg']['rcnn'].update(score_thr=2.0)\n")
    outcome = train(blind, seed_network)
    assert (outcome.finished.ap, outcome.finished.ap50) == (0.0, 0.0)
    assert isinstance(outcome.events[-1], EpochFinished)


def test_a_worker_keeps_no_record_of_finished_jobs(trainer: DetectionTrainer, seed: Outcome) -> None:
    assert not [name for name in MessageHub._instance_dict if name.startswith("j-0001")]


def test_more_classes_in_the_template_than_in_the_data_are_refused(setup: WorkerSetup, workdir: Path) -> None:
    with pytest.raises(TemplateError, match="num_classes is 11, but the training set has 10"):
        opened(setup, workdir, "model['roi_head']['bbox_head'].update(num_classes=11)\n")


def test_detector_that_mmdet_does_not_know_is_refused(setup: WorkerSetup, workdir: Path) -> None:
    with pytest.raises(TemplateError, match=r"what its model says: .*FasterRCNM"):
        opened(setup, workdir, "model.update(type='FasterRCNM')\n")


def test_optimizer_that_torch_does_not_know_is_refused(setup: WorkerSetup, workdir: Path) -> None:
    with pytest.raises(TemplateError, match="what its optim_wrapper says"):
        opened(setup, workdir, "optim_wrapper['optimizer'].update(type='AdamX')\n")


def test_missing_annotations_are_the_users_to_mend(setup: WorkerSetup, workdir: Path) -> None:
    with pytest.raises(DataError, match=r"train_dataloader\.dataset.*missing\.json"):
        opened(setup, workdir, "train_dataloader['dataset'].update(ann_file='missing.json')\n")


def test_missing_images_are_the_users_to_mend(setup: WorkerSetup, workdir: Path) -> None:
    with pytest.raises(DataError, match=r"val_dataloader\.dataset.*elsewhere/00001\.png"):
        opened(setup, workdir, "val_dataloader['dataset'].update(data_prefix=dict(img='elsewhere/'))\n")


def test_image_broken_half_way_is_the_users_to_mend(
    setup: WorkerSetup, workdir: Path, seed_network: NetworkRef
) -> None:
    broken = workdir / "data/broken"
    shutil.copytree(workdir / "data/digits/detection", broken)
    (broken / "train/00007.png").write_bytes(b"no image")
    trainer = opened(setup, workdir, "train_dataloader['dataset'].update(data_root='data/broken/')\n")
    with pytest.raises(AssertionError) as caught:
        train(trainer, seed_network)
    assert fault(caught.value) == "data"


def test_categories_that_match_no_class_are_the_users_to_mend(setup: WorkerSetup, workdir: Path) -> None:
    document = json.loads((workdir / "data/digits/detection/train.json").read_text())
    for category in document["categories"]:
        category["name"] = f"digit {category['name']}"
    (workdir / "data/digits/detection/renamed.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"no image with a box of its classes.*renamed\.json"):
        opened(setup, workdir, "train_dataloader['dataset'].update(ann_file='renamed.json')\n")
