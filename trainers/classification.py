"""Reignition: retrain a candidate's backbone on image classification (SP-NAS, section 3.2), in earnest on ImageNet.

The backbone keeps its weights and gets a global average pool over its last stage and a linear classifier; both are
thrown away afterwards. Data are class folders (``train/<class>/*``, ``val/<class>/*``), normalised like the detector's
images. Training crops are not mirrored: some classes, such as digits, are handed.
This module must not know detection heads, nor what the backbone is used for next.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.runner import set_random_seed
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from lineage.events import EpochFinished, JobFinished
from trainers import checkpoints
from trainers.backbone import PREFIX, SpNet, state_of
from trainers.channel import Channel
from trainers.errors import CheckpointError, DataError, NonFiniteError
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
    unfinished = Unfinished(folder, job)
    accuracy = _train(classifier, train, val, job, device, channel, unfinished)
    state = {PREFIX + name: tensor for name, tensor in classifier.backbone.state_dict().items()}
    sha256 = channel.kept(lambda: checkpoints.save(folder, state, job.network, "backbone"))
    unfinished.remove()
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


def _train(
    classifier: Classifier,
    train: ImageFolder,
    val: ImageFolder,
    job: ClassificationJob,
    device: torch.device,
    channel: Channel,
    unfinished: Unfinished,
) -> float:
    batch_size = min(job.batch_size, len(train))
    order = torch.Generator().manual_seed(job.seed)
    batches = DataLoader(train, batch_size, shuffle=True, drop_last=True, generator=order)
    val_batches = DataLoader(val, batch_size)
    optimizer = torch.optim.AdamW(classifier.parameters(), job.learning_rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, job.epochs * len(batches))
    done, accuracy = 0, 0.0
    if kept := unfinished.load():
        classifier.load_state_dict(kept["weights"])
        optimizer.load_state_dict(kept["optimizer"])
        schedule.load_state_dict(kept["schedule"])
        order.set_state(kept["order"])
        set_random_state(kept["random"], device)
        done, accuracy = kept["epoch"], kept["accuracy"]
    for epoch in range(done + 1, job.epochs + 1):
        classifier.train()
        losses = []
        for images, labels in batches:
            optimizer.zero_grad()
            loss = 0.0
            for part, theirs in zip(images.chunk(job.batch_parts), labels.chunk(job.batch_parts), strict=True):
                logits = classifier(part.to(device))
                share = (
                    F.cross_entropy(logits, theirs.to(device), label_smoothing=LABEL_SMOOTHING)
                    * len(part)
                    / len(images)
                )
                share.backward()
                loss += share.item()
            if not math.isfinite(loss):
                raise NonFiniteError(f"loss is {loss} in epoch {epoch}, iteration {len(losses) + 1}")
            optimizer.step()
            schedule.step()
            losses.append(loss)
            channel.breathe()
        mean = sum(losses) / len(losses)
        accuracy = _accuracy(classifier, val_batches, device, channel)
        log.info(f"epoch {epoch}/{job.epochs}: mean loss {mean:.4f}, accuracy {accuracy:.3f}")
        channel.emit(
            EpochFinished(
                job_id=job.job_id, attempt=job.attempt, epoch=epoch, epochs=job.epochs, loss=mean, ap=accuracy
            )
        )
        if job.epochs > 1:
            state = {
                "weights": classifier.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "order": order.get_state(),
                "random": random_state(device),
                "epoch": epoch,
                "accuracy": accuracy,
            }
            unfinished.keep(state, channel, is_last=epoch == job.epochs)
    return accuracy


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
        train, val = ImageFolder(folder / "train"), ImageFolder(folder / "val")
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
