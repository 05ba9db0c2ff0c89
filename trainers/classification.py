"""Reignition: retrain a candidate's backbone on image classification (SP-NAS, section 3.2), in earnest on ImageNet.

The backbone keeps its weights and gets a global average pool over its last stage and a linear classifier; both are
thrown away afterwards. Data are class folders (``train/<class>/*``, ``val/<class>/*``), normalised like the detector's
images. Training crops are not mirrored: some classes, such as digits, are handed.
This module must not know detection heads, nor what the backbone is used for next.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.runner import set_random_seed
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import default_loader
from torchvision.transforms import v2

from lineage.events import EpochFinished, JobFinished
from trainers import checkpoints
from trainers.backbone import PREFIX, SpNet, state_of
from trainers.channel import Channel
from trainers.errors import CheckpointError, DataError, NonFiniteError
from trainers.faults import is_no_memory
from trainers.protocol import ClassificationJob
from trainers.template import adapt
from trainers.unfinished import Unfinished, random_state, set_random_state

MAX_SIDE = 224
LABEL_SMOOTHING = 0.1
WEIGHT_DECAY = 0.05

log = logging.getLogger(__name__)


class Classifier(nn.Module):
    """Images (B, 3, H, W) -> logits (B, classes)."""

    def __init__(self, backbone: nn.Module, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.linear = nn.Linear(backbone.out_channels[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.backbone(images)[-1].mean((2, 3)))


def run(
    job: ClassificationJob,
    template: Config,
    folder: Path,
    device: torch.device,
    channel: Channel,
) -> JobFinished:
    """Retrain the backbone in `job.network`'s checkpoint, or train one from scratch; the outcome is a backbone alone.

    Args:
        template: the detectors', for norm layers and the normalisation of images.
        folder: of the checkpoints.

    Raises:
        DataError: the class folders are missing, empty, or differ between train and val.
        CheckpointError: the network's checkpoint is missing, damaged, or another network's.
        NonFiniteError: the training diverged.
        Stopped: the training was asked to stop, and its last epoch is kept.
    """
    set_random_seed(job.seed)
    model_config = adapt(template, job.network, job.epochs).model
    train, val = _open(job.data, model_config.get("data_preprocessor") or {})
    classifier = Classifier(_backbone(job, model_config.backbone, folder), len(train.classes)).to(device)
    unfinished = Unfinished(folder, job, template)
    accuracy = _train(classifier, train, val, job, device, channel, unfinished)
    state = {PREFIX + name: tensor for name, tensor in classifier.backbone.state_dict().items()}
    sha256 = channel.kept(lambda: checkpoints.save(folder, state, job.network, "backbone"))
    return JobFinished(
        job_id=job.job_id,
        attempt=job.attempt,
        checkpoint=sha256,
        checkpoint_bytes=checkpoints.path(folder, sha256).stat().st_size,
        accuracy=accuracy,
    )


def _backbone(job: ClassificationJob, config: Config, folder: Path) -> nn.Module:
    network = job.network
    backbone = SpNet(**{key: value for key, value in config.items() if key != "type"})
    if network.checkpoint is None:
        return backbone
    state, _ = checkpoints.load(folder, network.checkpoint)
    try:
        backbone.load_state_dict(state_of(state))
    except RuntimeError as error:
        raise CheckpointError(f"checkpoint {network.checkpoint} does not hold {network.code}: {error}") from error
    return backbone


class _Training:
    """What changes while a classifier is trained."""

    def __init__(
        self, classifier: Classifier, images: ImageFolder, job: ClassificationJob, device: torch.device
    ) -> None:
        self._classifier, self._job, self._device = classifier, job, device
        self._order = torch.Generator().manual_seed(job.seed)
        batch_size = min(job.batch_size, len(images))
        self._batches = DataLoader(images, batch_size, shuffle=True, drop_last=True, generator=self._order)
        self._optimizer = torch.optim.AdamW(classifier.parameters(), job.learning_rate, weight_decay=WEIGHT_DECAY)
        iterations = job.epochs * len(self._batches)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, iterations)
        self.epoch, self.accuracy = 0, 0.0

    def state(self) -> dict[str, Any]:
        return {
            "weights": self._classifier.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "order": self._order.get_state(),
            "random": random_state(self._device),
            "epoch": self.epoch,
            "accuracy": self.accuracy,
        }

    def put(self, kept: Mapping[str, Any]) -> None:
        self._classifier.load_state_dict(kept["weights"])
        self._optimizer.load_state_dict(kept["optimizer"])
        self._schedule.load_state_dict(kept["schedule"])
        self._order.set_state(kept["order"])
        set_random_state(kept["random"], self._device)
        self.epoch, self.accuracy = kept["epoch"], kept["accuracy"]

    def run_epoch(self, channel: Channel) -> float:
        """Train one epoch more; its mean loss."""
        self._classifier.train()
        self.epoch += 1
        losses: list[float] = []
        for images, labels in self._batches:
            self._optimizer.zero_grad()
            loss = self._backward(images, labels)
            if not math.isfinite(loss):
                raise NonFiniteError(f"loss is {loss} in epoch {self.epoch}, iteration {len(losses) + 1}")
            self._optimizer.step()
            self._schedule.step()
            losses.append(loss)
            channel.breathe()
        return sum(losses) / len(losses)

    def _backward(self, images: Tensor, labels: Tensor) -> float:
        """Add the gradients of a batch part by part; its loss."""
        loss, parts = 0.0, self._job.batch_parts
        for part, theirs in zip(images.chunk(parts), labels.chunk(parts), strict=True):
            logits = self._classifier(part.to(self._device))
            mean = F.cross_entropy(logits, theirs.to(self._device), label_smoothing=LABEL_SMOOTHING)
            share = mean * len(part) / len(images)
            share.backward()
            loss += share.item()
        return loss


def _train(
    classifier: Classifier,
    train: ImageFolder,
    val: ImageFolder,
    job: ClassificationJob,
    device: torch.device,
    channel: Channel,
    unfinished: Unfinished,
) -> float:
    val_batches = DataLoader(val, min(job.batch_size, len(train)))
    training = _Training(classifier, train, job, device)
    unfinished.restore(training.state, training.put)
    while training.epoch < job.epochs:
        loss = training.run_epoch(channel)
        accuracy = training.accuracy = _accuracy(classifier, val_batches, device, channel)
        log.info(f"epoch {training.epoch}/{job.epochs}: mean loss {loss:.4f}, accuracy {accuracy:.3f}")
        event = EpochFinished(
            job_id=job.job_id, attempt=job.attempt, epoch=training.epoch, epochs=job.epochs, loss=loss, ap=accuracy
        )
        channel.emit(event)
        if job.epochs > 1:
            unfinished.keep(training.state(), channel, is_last=training.epoch == job.epochs)
    return training.accuracy


@torch.no_grad()
def _accuracy(classifier: Classifier, batches: DataLoader[Any], device: torch.device, channel: Channel) -> float:
    classifier.eval()
    right = total = 0
    for images, labels in batches:
        right += int((classifier(images.to(device)).argmax(1).cpu() == labels).sum())
        total += len(labels)
        channel.breathe()
    return right / total


def _open(folder: Path, preprocessing: Config) -> tuple[ImageFolder, ImageFolder]:
    try:
        train, val = (ImageFolder(folder / name, loader=_image) for name in ("train", "val"))
    except OSError as error:
        raise DataError(
            f"no classification set at {folder}: {error}; expected {folder}/train/<class>/* and {folder}/val/<class>/*"
        ) from error
    if train.classes != val.classes:
        odd = sorted(set(train.classes) ^ set(val.classes))
        raise DataError(f"{folder}: train and val must have the same classes; only in one of them: {', '.join(odd)}")
    side = min(MAX_SIDE, *train[0][0].size)
    finish = _normalised(preprocessing)
    train.transform = v2.Compose([v2.RandomResizedCrop(side, scale=(0.5, 1.0)), finish])
    val.transform = v2.Compose([v2.Resize(side), v2.CenterCrop(side), finish])
    return train, val


def _image(path: str) -> Any:
    try:
        return default_loader(path)
    except Exception as error:
        if is_no_memory(error):
            raise
        raise DataError(f"{path} can't be used: {type(error).__name__}: {error}") from error


def _normalised(preprocessing: Config) -> Callable[[Any], Tensor]:
    """Images as the detector sees them: float, minus mean by deviation, channels in its order."""
    mean, std = (torch.tensor(preprocessing.get(key, default)) for key, default in (("mean", [0.0]), ("std", [1.0])))
    reds_first = preprocessing.get("bgr_to_rgb", False)

    def finish(image: Any) -> Tensor:
        pixels = v2.functional.pil_to_tensor(image).float()
        if not reds_first:
            pixels = pixels.flip(0)
        return (pixels - mean[:, None, None]) / std[:, None, None]

    return finish
