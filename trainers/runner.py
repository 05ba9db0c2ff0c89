"""Training of one detector through mmengine's Runner, with what gets in a long-lived worker's way undone.

By itself a Runner draws weights over inherited ones, reports on the environment for three seconds, writes files of its
own and keeps the record of every run in memory. This module must not know candidates, parents or checkpoints.
"""

from __future__ import annotations

import logging
import math
import tempfile
import time
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import Tensor, nn

from lineage.events import EpochFinished
from trainers.channel import Channel
from trainers.data.detection import DetectionData
from trainers.errors import NonFiniteError, Stopped
from trainers.protocol import DetectionJob
from trainers.unfinished import Unfinished, random_state, set_random_state

MMENGINE = "trainers"  # name of the one logger, and the one visualizer, that mmengine and mmdet use in this process

log = logging.getLogger(__name__)


class Progress(Hook):
    """Reports epochs, writes the job's log, and stops a training that diverges at once. Holds the last AP and AP50."""

    priority = "LOW"

    def __init__(self, job: DetectionJob, channel: Channel) -> None:
        self._job, self._channel = job, channel
        self._losses: list[float] = []
        self._started = time.perf_counter()
        self.ap = self.ap50 = 0.0

    def before_train_epoch(self, _runner: Runner) -> None:
        self._losses = []
        self._started = time.perf_counter()

    def after_train_iter(self, runner: Runner, *, batch_idx: int, outputs: dict[str, Tensor], **_batch: object) -> None:
        loss, done, batches = outputs["loss"].item(), batch_idx + 1, len(runner.train_dataloader)
        if not math.isfinite(loss):
            raise NonFiniteError(f"loss is {loss} in epoch {runner.epoch + 1}, iteration {done} of {batches}")
        self._losses.append(loss)
        self._channel.breathe()
        if done % max(1, min(50, batches // 3)) == 0:
            rate = runner.optim_wrapper.get_lr()["lr"][0]
            log.info(f"epoch {runner.epoch + 1}, iteration {done}/{batches}: loss {loss:.4f}, lr {rate:.2e}")

    def after_val_iter(self, _runner: Runner, **_batch: object) -> None:
        self._channel.breathe()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        # A detector that finds nothing has no AP among its metrics; a set without objects has -1.
        self.ap, self.ap50 = (max(0.0, metrics.get(f"coco/{key}", 0.0)) for key in ("bbox_mAP", "bbox_mAP_50"))
        loss, seconds = sum(self._losses) / len(self._losses), time.perf_counter() - self._started
        measured = ", ".join(f"{key.removeprefix('coco/bbox_')} {value}" for key, value in metrics.items())
        log.info(f"epoch {runner.epoch}/{self._job.epochs}: mean loss {loss:.4f}, {seconds:.1f} s, {measured}")
        self._channel.emit(
            EpochFinished(
                job_id=self._job.job_id,
                attempt=self._job.attempt,
                epoch=runner.epoch,
                epochs=self._job.epochs,
                loss=loss,
                ap=self.ap,
            )
        )


class Continuation(Hook):
    """Keeps the state of a training after every epoch but a single one, and goes on from what was kept of it before."""

    priority = "VERY_LOW"  # an epoch is reported before it is kept, so that none is missing in the record

    def __init__(self, unfinished: Unfinished, progress: Progress, channel: Channel, device: torch.device) -> None:
        self._unfinished, self._progress, self._channel, self._device = unfinished, progress, channel, device

    def after_val_epoch(self, runner: Runner, **_metrics: object) -> None:
        if runner.max_epochs > 1:
            self._unfinished.keep(self._state(runner), self._channel, is_last=runner.epoch >= runner.max_epochs)

    def restore(self, runner: Runner) -> None:
        """Put a training that is about to begin where it was kept last, if it was."""
        self._unfinished.restore(lambda: self._state(runner), lambda kept: self._put(runner, kept))

    def _state(self, runner: Runner) -> dict[str, Any]:
        weights: dict[str, Any] = {"state_dict": runner.model.state_dict()}
        runner.call_hook("before_save_checkpoint", checkpoint=weights)  # hooks that average weights add theirs
        return {
            "weights": weights,
            "optimizer": runner.optim_wrapper.state_dict(),
            "schedulers": [_numbers(scheduler) for scheduler in runner.param_schedulers or ()],
            "epoch": runner.epoch,
            "iteration": runner.iter,
            "aps": [self._progress.ap, self._progress.ap50],
            "random": random_state(self._device),
        }

    def _put(self, runner: Runner, kept: Mapping[str, Any]) -> None:
        runner.call_hook("after_load_checkpoint", checkpoint=kept["weights"])
        runner.model.load_state_dict(kept["weights"]["state_dict"])
        runner.optim_wrapper.load_state_dict(kept["optimizer"])
        for scheduler, numbers in zip(runner.param_schedulers or (), kept["schedulers"], strict=True):
            vars(scheduler).update(numbers)
        runner.train_loop._epoch, runner.train_loop._iter = kept["epoch"], kept["iteration"]
        self._progress.ap, self._progress.ap50 = kept["aps"]
        set_random_state(kept["random"], self._device)


def _numbers(scheduler: object) -> dict[str, int | float]:
    """What changes in a schedule; the rest is in its configuration."""
    return {name: value for name, value in vars(scheduler).items() if isinstance(value, int | float)}


def quiet_mmengine() -> None:
    """Let mmengine and mmdet log errors only, and draw nothing; asked again, change nothing."""
    if not MMLogger.check_instance_created(MMENGINE):
        MMLogger.get_instance(MMENGINE, log_level="ERROR")
        Visualizer.get_instance(MMENGINE, vis_backends=[])


def train(
    detector: nn.Module,
    config: Config,
    data: DetectionData,
    job: DetectionJob,
    progress: Progress,
    continuation: Continuation,
) -> Runner:
    """Train `detector`, with the weights and on the device it has, as an adapted template says; evaluate every epoch.

    Call `quiet_mmengine` first, once a process.

    Returns:
        The Runner, whose `optim_wrapper` can take further steps.

    Raises:
        NonFiniteError: a loss, or a weight, is no longer finite.
        Stopped: the training was asked to stop, and its last epoch is kept.
    """
    with tempfile.TemporaryDirectory() as unused:  # a Runner insists on a folder
        runner = _Runner(
            model=detector,
            work_dir=unused,
            train_dataloader=data.train_batches(job.seed, job.batch_parts),
            val_dataloader=data.val_batches(),
            train_cfg=config.train_cfg,
            val_cfg=config.get("val_cfg") or {"type": "ValLoop"},
            val_evaluator=config.val_evaluator,
            optim_wrapper=config.optim_wrapper,
            param_scheduler=config.param_scheduler or None,
            auto_scale_lr=config.get("auto_scale_lr"),
            default_hooks={"timer": None, "logger": None, "checkpoint": None},
            custom_hooks=[*(config.get("custom_hooks") or ()), progress, continuation],
            env_cfg=config.get("env_cfg") or {},
            visualizer=Visualizer.get_instance(MMENGINE),
            default_scope=None,
            randomness={"seed": job.seed},
            experiment_name=f"{job.job_id}-{job.attempt}-{time.monotonic_ns()}",
        )
    runner.continuation = continuation
    try:
        with warnings.catch_warnings():
            if job.batch_parts > 1:  # the schedule is counted in parts, the optimizer waits for the last of a batch
                warnings.filterwarnings("ignore", message="Detected call of `scheduler.step")
            runner.train()
    except (NonFiniteError, Stopped):
        raise
    except Exception as error:
        if all(parameter.isfinite().all() for parameter in detector.parameters()):
            raise
        raise NonFiniteError(f"a weight is no longer finite, so {type(error).__name__}: {error}") from error
    finally:
        MessageHub._instance_dict.pop(runner.experiment_name, None)
    return runner


class _Runner(Runner):
    continuation: Continuation

    def load_or_resume(self) -> None:
        """Go on from what was kept of this job."""
        self.continuation.restore(self)

    def _init_model_weights(self) -> None:
        """Keep the weights."""

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """Report nothing."""

    def dump_config(self) -> None:
        """Write nothing."""

    def wrap_model(self, _wrapper: object, model: nn.Module) -> nn.Module:
        return model

    def build_logger(self, *_args: object, **_kwargs: object) -> MMLogger:
        return MMLogger.get_instance(MMENGINE)
