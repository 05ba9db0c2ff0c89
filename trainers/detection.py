"""Detection: fast and full training of one candidate, from inherited weights where it has a parent.

A job is: build the detector from the adapted template, draw its weights, take over what the parent has (SP-NAS,
section 3.2), train and evaluate, save, measure. The same job with the same seed gives the same weights on a CPU.
This module must not know where jobs come from or where events go: it is given a job and a way to emit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner, set_random_seed
from mmengine.utils import import_modules_from_strings
from torch import Tensor, nn

from lineage.architecture import Genotype
from lineage.events import JobFinished, WeightsInherited
from lineage.morphism import Blueprint
from trainers import backbone, checkpoints, measure, mmcv_ops, neck, probe  # noqa: F401 (neck registers)
from trainers.channel import Channel
from trainers.data.detection import DetectionData
from trainers.errors import PromiseError, TemplateError, TrainerError
from trainers.inheritance import inherit
from trainers.protocol import DetectionJob, NetworkRef, WorkerSetup
from trainers.runner import Continuation, Progress, quiet_mmengine, train
from trainers.template import adapt, describe
from trainers.unfinished import Unfinished

PROBE_IMAGES = 4
# Of a feature level's largest value. What preserves the function adds exact zeros, so on a CPU nothing differs; a GPU may
# choose another algorithm, and float32's rounding grows to 1e-6 in 60 blocks. A gate left ajar departs by 1e-3 or more.
TOLERANCE = 1e-4
PROBE_CODE = "b_1-1-1-1_0-0-0-0"

T = TypeVar("T")

log = logging.getLogger(__name__)


class DetectionTrainer:
    """What all jobs of a worker share: the template, its data sets, and the registered modules of mmdet."""

    def __init__(self, setup: WorkerSetup, template: Config, device: torch.device) -> None:
        """Open the data of a checked template; relative paths in it are read from the current folder.

        Raises:
            TemplateError: no detector can be built from the template.
            DataError: its data can't be opened.
        """
        self._setup, self._device = setup, device
        mmcv_ops.install()
        register_all_modules(init_default_scope=True)
        quiet_mmengine()
        self.template = template
        if "custom_imports" in self.template:
            import_modules_from_strings(**self.template.custom_imports)
        self.data = DetectionData(self.template, loader_processes=device.type == "cuda")
        self._check()

    def run(self, job: DetectionJob, channel: Channel) -> JobFinished:
        """Train and evaluate a candidate.

        Raises:
            NonFiniteError: the training diverged.
            CheckpointError: the weights to begin with are missing, damaged, or another network's.
            PromiseError: the job says that the parent's function is preserved, and it is not.
            Stopped: the training was asked to stop, and its last epoch is kept.
            TrainerError: see its subclasses; errors of torch and mmdet pass through.
        """
        set_random_seed(job.seed)
        config = adapt(self.template, job.network, job.epochs, job.batch_parts)
        config.val_evaluator = self._evaluator()
        detector = self._build(config)
        if job.parent is not None:
            self._inherit(detector, job, job.parent, channel)
        progress = Progress(job, channel)
        unfinished = Unfinished(self._setup.checkpoints, job, self.template)
        continuation = Continuation(unfinished, progress, channel, self._device)
        runner = train(detector, config, self.data, job, progress, continuation)
        weights = detector.state_dict()
        sha256 = channel.kept(lambda: checkpoints.save(self._setup.checkpoints, weights, job.network, "detector"))
        whole = describe(self.template)["heads"] is not None  # what was not predicted is not measured either
        cost = measure.cost(detector, self._setup.image_size, whole)
        latency_ms = measure.latency_ms(detector, self._setup.image_size, self._device, whole=whole)
        return JobFinished(
            job_id=job.job_id,
            attempt=job.attempt,
            checkpoint=sha256,
            checkpoint_bytes=checkpoints.path(self._setup.checkpoints, sha256).stat().st_size,
            ap=progress.ap,
            ap50=progress.ap50,
            params=cost.params,
            flops=cost.flops,
            latency_ms=latency_ms,
            peak_memory_bytes=self._peak_memory_bytes(runner, job),
        )

    def _check(self) -> None:
        """Build the smallest detector and what trains it once, so that a broken template is told before any job."""
        expected, found = describe(self.template)["classes"], len(self.data.classes)
        if expected != found:
            raise TemplateError(
                f"{self._setup.template}: bbox_head.num_classes is {expected}, but the training set has {found} "
                "classes (mmdet 3.x does not count the background); make them agree"
            )
        genotype = Genotype.parse(PROBE_CODE)
        ids = Blueprint.seed(genotype, "probe").block_ids
        network = NetworkRef(candidate_id="probe", code=PROBE_CODE, block_ids=ids, base_width=8)
        config = adapt(self.template, network, epochs=1)
        detector = self._tried("model", lambda: self._build(config))
        self._tried("optim_wrapper", lambda: build_optim_wrapper(detector, config.optim_wrapper))
        self._evaluator()

    def _evaluator(self) -> Evaluator:
        section = self.template.val_evaluator
        return self._tried(f"val_evaluator (ann_file {section.get('ann_file')})", lambda: Evaluator(section))

    def _tried(self, section: str, build: Callable[[], T]) -> T:
        try:
            return build()
        except Exception as error:
            raise TemplateError(
                f"{self._setup.template}: mmdet can't build what its {section} says: {type(error).__name__}: {error}"
            ) from error

    def _build(self, config: Config) -> nn.Module:
        detector = MODELS.build(config.model)
        detector.init_weights()
        return detector.to(self._device)

    def _inherit(self, detector: nn.Module, job: DetectionJob, parent: NetworkRef, channel: Channel) -> None:
        """Take over the parent's weights, measure what came of it, and tell both."""
        state, lit = self._weights(parent.checkpoint), backbone.state_of(self._weights(job.backbone_checkpoint))
        if not state and not lit:
            raise TrainerError(f"job {job.job_id}: its parent {parent.candidate_id} has no checkpoint to inherit from")
        backbone_only = job.inherit == "backbone"
        taken = inherit(detector, _blueprint(job.network), state, _blueprint(parent), lit or None, backbone_only)
        images = detector.data_preprocessor(self.data.probe(PROBE_IMAGES), False)["inputs"]
        before = self._rebuilt(parent, state or {backbone.PREFIX + name: tensor for name, tensor in lit.items()})
        batch_size = max(2, self.template.train_dataloader.get("batch_size", 1))  # what training takes
        residual = _residual(detector, before, images, backbone_only)
        event = WeightsInherited(
            job_id=job.job_id,
            attempt=job.attempt,
            child_id=job.network.candidate_id,
            parent_id=parent.candidate_id,
            tensors_copied=len(taken.copied),
            tensors_adapted=len(taken.adapted),
            tensors_new=len(taken.new),
            tensors_dropped=len(taken.dropped),
            residual=residual.largest if residual else None,
            dead_tensors=probe.dead_tensors(detector, taken.new, images[:batch_size]),
        )
        channel.emit(event)
        log.info(
            f"inherited from {parent.candidate_id}: {len(taken.copied)} tensors copied, {len(taken.adapted)} adapted, "
            f"{len(taken.new)} new, {len(taken.dropped)} dropped; residual {event.residual}"
        )
        if event.dead_tensors:
            log.warning(f"no gradient reaches {len(event.dead_tensors)} new tensors: {', '.join(event.dead_tensors)}")
        if job.preserves and residual and residual.relative > TOLERANCE:
            raise _broken_promise(job.network, parent, residual)

    def _weights(self, sha256: str | None) -> dict[str, Tensor]:
        return checkpoints.load(self._setup.checkpoints, sha256)[0] if sha256 else {}

    def _rebuilt(self, network: NetworkRef, state: Mapping[str, Tensor]) -> nn.ModuleDict:
        """Backbone and neck that `state` was saved from, as far as this template has the like."""
        model, rebuilt = adapt(self.template, network, epochs=1).model, nn.ModuleDict()
        for part, config in (("backbone", model.backbone), ("neck", model.neck)):
            module, prefix = MODELS.build(config), f"{part}."
            theirs = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
            if _shapes(theirs) != _shapes(module.state_dict()):
                break
            module.load_state_dict(theirs)
            rebuilt[part] = module
        return rebuilt.to(self._device)

    def _peak_memory_bytes(self, runner: Runner, job: DetectionJob) -> int:
        """Memory of one more training step; the weights are saved by now."""
        batch = next(iter(self.data.train_batches(job.seed, job.batch_parts)))
        detector, wrapper = runner.model.train(), runner.optim_wrapper
        return measure.peak_memory_bytes(
            lambda: detector.train_step(batch, wrapper), detector, wrapper.optimizer, self._device
        )


def _residual(child: nn.Module, parent: nn.ModuleDict, images: Tensor, backbone_only: bool) -> measure.Residual | None:
    """Of stages and pyramid levels, or of the stages alone where the neck is not inherited."""
    if "backbone" not in parent:
        return None
    if "neck" in parent and not backbone_only:
        return measure.residual(child, parent, images)
    return measure.residual(child.backbone, parent.backbone, images)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


def _broken_promise(child: NetworkRef, parent: NetworkRef, residual: measure.Residual) -> PromiseError:
    return PromiseError(
        f"{child.candidate_id} ({child.code}) has to compute what its parent {parent.candidate_id} ({parent.code}) does, "
        f"but its features differ by up to {residual.largest:.3g}, {residual.relative:.2g} of their scale (tolerance "
        f"{TOLERANCE:g}): a morphism that keeps the function did not. Please report it with this job's log"
    )


def _blueprint(network: NetworkRef) -> Blueprint:
    return Blueprint(Genotype.parse(network.code), network.block_ids)
