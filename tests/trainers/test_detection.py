"""One candidate's training: what is inherited, reported, measured and repeated exactly."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from detecting import Outcome, opened, train
from mmengine.logging import MessageHub

from lineage.architecture import Genotype
from lineage.events import EpochFinished, Event, WeightsInherited
from lineage.morphism import AddStage, Blueprint, Branch, Expand, Morphism, Swap, apply
from trainers import checkpoints, detection, runner
from trainers.channel import Channel
from trainers.detection import DetectionTrainer
from trainers.errors import NonFiniteError, PromiseError, TrainerError
from trainers.faults import fault_of
from trainers.protocol import DetectionJob, NetworkRef, WorkerSetup

pytestmark = pytest.mark.usefixtures("in_workdir")
torch.set_num_threads(1)


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


def test_a_batch_in_two_halves_is_one_step_of_the_optimizer(
    trainer: DetectionTrainer, seed: Outcome, seed_network: NetworkRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, sizes = Counter[int](), []
    step, take = torch.optim.AdamW.step, trainer.data.train_batches
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda *args, **kwargs: steps.update([parts]) or step(*args, **kwargs)
    )
    monkeypatch.setattr(detection.measure, "peak_memory_bytes", lambda *_: 0)
    for parts in (1, 2):
        sizes.append(max(len(batch["inputs"]) for batch in take(0, parts)))
        train(trainer, seed_network, epochs=1, batch_parts=parts)
    assert steps[1] == steps[2] > 1
    assert sizes[0] == 2 * sizes[1]


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
    inherited = train(trainer, child_of(parent, *morphisms), parent, preserves=True).events[0]
    assert isinstance(inherited, WeightsInherited)
    assert inherited.dead_tensors == ()
    assert (inherited.child_id, inherited.parent_id) == ("s-0002", "s-0001")
    assert inherited.tensors_copied > 0
    assert inherited.tensors_new + inherited.tensors_adapted > 0
    assert inherited.residual <= 1e-4


def test_swap_says_how_far_the_child_is_from_its_parent(trainer: DetectionTrainer, parent: NetworkRef) -> None:
    inherited = train(trainer, child_of(parent, Swap(1, -1)), parent).events[0]
    assert inherited.tensors_copied > 0
    assert inherited.residual > 0


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """An inheritance that leaves the gate of a new block open."""
    intact = detection.inherit

    def leave_open(child: torch.nn.Module, *arguments: object) -> object:
        taken = intact(child, *arguments)
        torch.nn.init.constant_(child.backbone.stages[1][1].bn2.weight, 0.01)
        return taken

    monkeypatch.setattr(detection, "inherit", leave_open)


@pytest.mark.usefixtures("broken")
def test_broken_promise_ends_the_job_before_training_and_says_by_how_much(
    trainer: DetectionTrainer, parent: NetworkRef
) -> None:
    events: list[Event] = []
    with pytest.raises(
        PromiseError, match=r"s-0002 \(b_1-112-2-2.*s-0001 \(b_1-12-2-2.*up to .*tolerance 0\.0001"
    ) as caught:
        train(trainer, child_of(parent, Expand(1, 1, 1)), parent, events=events, preserves=True)
    [inherited] = events
    assert isinstance(inherited, WeightsInherited)
    assert f"{inherited.residual:.3g}" in str(caught.value)
    assert fault_of(caught.value) == "broken_promise"


@pytest.mark.usefixtures("broken")
def test_what_promises_nothing_may_differ(trainer: DetectionTrainer, parent: NetworkRef) -> None:
    events = train(trainer, child_of(parent, Expand(1, 1, 1)), parent).events
    assert events[0].residual > 0
    assert isinstance(events[-1], EpochFinished)


def test_new_tensors_that_cannot_learn_are_told(
    trainer: DetectionTrainer, parent: NetworkRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    intact = detection.inherit

    def zero_every_norm(child: torch.nn.Module, *arguments: object) -> object:
        taken = intact(child, *arguments)
        torch.nn.init.zeros_(child.backbone.stages[1][1].bn1.weight)
        return taken

    monkeypatch.setattr(detection, "inherit", zero_every_norm)
    inherited = train(trainer, child_of(parent, Expand(1, 1, 1)), parent, preserves=True).events[0]
    assert inherited.residual == 0
    assert {"backbone.stages.1.1.conv1.weight", "backbone.stages.1.1.bn2.weight"} <= set(inherited.dead_tensors)


def test_measuring_a_birth_does_not_change_what_is_trained(
    trainer: DetectionTrainer, parent: NetworkRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = child_of(parent, Expand(1, 1, 1), Branch(1))
    measured = train(trainer, child, parent)
    assert measured.events[0].dead_tensors == ()
    monkeypatch.setattr(detection.probe, "dead_tensors", lambda *_: None)
    monkeypatch.setattr(DetectionTrainer, "_rebuilt", lambda *_: None)
    monkeypatch.setattr(detection, "_residual", lambda *_: None)
    unmeasured = train(trainer, child, parent)
    assert unmeasured.events[0].residual is unmeasured.events[0].dead_tensors is None
    assert unmeasured.finished.checkpoint == measured.finished.checkpoint
    assert unmeasured.events[1:] == measured.events[1:]


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


def backbone_alone(parent: NetworkRef, setup: WorkerSetup) -> NetworkRef:
    """The parent with a checkpoint as a file of weights, or a reignition, gives it."""
    state, _ = checkpoints.load(setup.checkpoints, parent.checkpoint)
    alone = {name: tensor for name, tensor in state.items() if name.startswith("backbone.")}
    return parent.model_copy(update={"checkpoint": checkpoints.save(setup.checkpoints, alone, parent, "backbone")})


def test_from_a_backbone_alone_neck_and_heads_are_new(
    trainer: DetectionTrainer, parent: NetworkRef, setup: WorkerSetup
) -> None:
    alone = backbone_alone(parent, setup)
    inherited, *_ = train(trainer, child_of(parent, Expand(1, 1, 1)), alone, preserves=True).events
    assert inherited.residual == 0
    assert inherited.tensors_dropped == 0
    assert inherited.dead_tensors == ()
    state, _ = checkpoints.load(setup.checkpoints, alone.checkpoint)
    assert inherited.tensors_copied == len(state)


def test_backbone_that_never_was_in_a_detector_is_inherited_from_where_it_was_reignited(
    trainer: DetectionTrainer, parent: NetworkRef, seed_network: NetworkRef, setup: WorkerSetup
) -> None:
    lit = backbone_alone(parent, setup).checkpoint
    inherited, *_ = train(trainer, child_of(seed_network), seed_network, backbone_checkpoint=lit).events
    assert inherited.residual == 0
    assert inherited.tensors_dropped == 0
    assert inherited.tensors_new > 0


def test_to_inherit_the_backbone_alone_leaves_neck_and_heads_as_they_are_initialised(
    trainer: DetectionTrainer, parent: NetworkRef, setup: WorkerSetup
) -> None:
    child, alone = child_of(parent, Expand(1, 1, 1)), backbone_alone(parent, setup)
    outcome = train(trainer, child, parent, inherit="backbone", preserves=True)
    inherited, *_ = outcome.events
    assert inherited.residual == 0
    assert inherited.tensors_dropped > 0
    expected = train(trainer, child, alone)
    assert outcome.finished.checkpoint == expected.finished.checkpoint
    assert inherited.tensors_new == expected.events[0].tensors_new


def test_parent_of_another_detector_gives_what_fits(
    setup: WorkerSetup, workdir: Path, trainer: DetectionTrainer, parent: NetworkRef
) -> None:
    narrow = opened(
        setup,
        workdir,
        "model['neck'].update(out_channels=16)\n"
        "model['rpn_head'].update(in_channels=16)\n"
        "model['roi_head']['bbox_roi_extractor'].update(out_channels=16)\n"
        "model['roi_head']['bbox_head'].update(in_channels=16)\n",
    )
    inherited, *_ = train(narrow, child_of(parent, Expand(1, 1, 1)), parent).events
    assert inherited.residual == 0  # of the stages; the levels have no like
    assert inherited.dead_tensors == ()
    assert inherited.tensors_dropped > 0


def test_parent_that_this_template_cannot_rebuild_has_no_residual(
    setup: WorkerSetup, workdir: Path, parent: NetworkRef
) -> None:
    other_norms = opened(setup, workdir, "model['backbone'].update(norm_cfg=dict(type='GN', num_groups=4))\n")
    inherited, *_ = train(other_norms, child_of(parent), parent).events
    assert inherited.residual is None
    assert inherited.tensors_dropped > 0  # running statistics


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
        diverging.run(job, Channel(events.append))
    assert events == []


def test_detector_that_finds_nothing_has_ap_zero(setup: WorkerSetup, workdir: Path, seed_network: NetworkRef) -> None:
    blind = opened(setup, workdir, "model['test_cfg']['rcnn'].update(score_thr=2.0)\n")
    outcome = train(blind, seed_network)
    assert (outcome.finished.ap, outcome.finished.ap50) == (0.0, 0.0)
    assert isinstance(outcome.events[-1], EpochFinished)


def test_a_worker_keeps_no_record_of_finished_jobs(trainer: DetectionTrainer, seed: Outcome) -> None:
    assert not [name for name in MessageHub._instance_dict if name.startswith("j-0001")]
