"""Detection data as the template names it, opened once and used by every job of a worker."""

from __future__ import annotations

import contextlib
import math
from typing import Any

from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import DataLoader

from trainers.errors import DataError
from trainers.faults import is_no_memory


class DetectionData:
    """Training and validation set of a template; its modules must be registered with mmdet beforehand."""

    def __init__(self, config: Config, loader_processes: bool) -> None:
        """Read the annotations, and one image of each set.

        With `loader_processes`, images are loaded by as many processes as the template's `num_workers` says; without,
        as where every core has a worker of its own, by this process.

        Raises:
            DataError: an annotation file or image is missing or broken, or no image is left.
        """
        self._config = config
        self._loader_processes = loader_processes
        self.train = _Samples(_open(config.train_dataloader, "train_dataloader"))
        self.val = _Samples(_open(config.val_dataloader, "val_dataloader"))

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.train.metainfo["classes"])

    def train_batches(self, seed: int, parts: int = 1) -> DataLoader[Any]:
        """The training set batch by batch, each of them in so many parts, in an order drawn from `seed`."""
        return self._loader(self._config.train_dataloader, self.train, seed, parts)

    def val_batches(self) -> DataLoader[Any]:
        return self._loader(self._config.val_dataloader, self.val, seed=0)

    def probe(self, images: int) -> dict[str, Any]:
        """The first `images` validation images as one batch for a detector's `data_preprocessor`."""
        return pseudo_collate([self.val[index] for index in range(min(images, len(self.val)))])

    def _loader(self, section: Config, dataset: _Samples, seed: int, parts: int = 1) -> DataLoader[Any]:
        sampler = DATA_SAMPLERS.build(
            section.get("sampler", {"type": "DefaultSampler"}), default_args={"dataset": dataset, "seed": seed}
        )
        batch_size, batch_sampler = math.ceil(section.get("batch_size", 1) / parts), section.get("batch_sampler")
        shared = {
            "collate_fn": pseudo_collate,
            "num_workers": section.get("num_workers", 0) if self._loader_processes else 0,
        }
        if batch_sampler is None:
            return DataLoader(dataset, batch_size, sampler=sampler, **shared)
        batches = DATA_SAMPLERS.build(batch_sampler, default_args={"sampler": sampler, "batch_size": batch_size})
        return DataLoader(dataset, batch_sampler=batches, **shared)


class _Samples:
    """A data set, whose broken samples are told by the name of their file."""

    def __init__(self, dataset: BaseDataset) -> None:
        self._dataset = dataset

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a copy that is not filled yet must not look into itself
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        try:
            return self._dataset[index]
        except Exception as error:
            if is_no_memory(error):
                raise
            reason = str(error) if isinstance(error, FileNotFoundError) else f"{type(error).__name__}: {error}"
            raise DataError(f"{self._file(index)} can't be used: {reason.strip()}") from error

    def _file(self, index: int) -> str:
        with contextlib.suppress(Exception):  # data sets made of others do not all know
            return str(self._dataset.get_data_info(index)["img_path"])
        return f"image {index}"


def _open(section: Config, name: str) -> BaseDataset:
    try:
        dataset = DATASETS.build(section.dataset)
        dataset.full_init()
        images = len(dataset)
        if images:
            dataset[0]
    except Exception as error:
        if "need at least one array" not in str(error):  # mmengine's answer to a list without entries
            reason = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            raise DataError(f"{name}.dataset of the template can't be opened: {reason}") from error
        images = 0
    if not images:
        raise DataError(
            f"{name}.dataset of the template holds no image with a box of its classes: compare metainfo.classes with "
            f"the categories in {section.dataset.get('ann_file', 'its annotations')}"
        )
    return dataset
