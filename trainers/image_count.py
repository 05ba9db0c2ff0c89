"""How many images a template's data sets hold, read off their COCO annotation files, without torch or mmdet.

Counted as mmdet's CocoDataset would: what `filter_cfg` drops is left out, wrappers repeat and concatenate. This module
must not open an image.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any


def count_images(dataset: Any) -> int | None:
    """Images in one epoch over a `dataset` section; relative paths are read from the current folder.

    None where it can't be told: annotations that are missing or not COCO's, or a wrapper that is not known here.
    """
    try:
        return _counted(dataset)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _counted(dataset: Any) -> int | None:
    kind = str(dataset.get("type")).removeprefix("mmdet.")
    if kind == "ConcatDataset":
        parts = [_counted(part) for part in dataset["datasets"]]
        return None if None in parts else sum(filter(None, parts))
    if kind in ("RepeatDataset", "MultiImageMixDataset"):
        images = _counted(dataset["dataset"])
        return images and images * (dataset["times"] if kind == "RepeatDataset" else 1)
    if "ann_file" not in dataset:
        return None
    kept, indices = len(_kept(dataset)), dataset.get("indices")
    if indices is None:
        return kept
    return min(kept, abs(indices)) if isinstance(indices, int) else len(indices)


def _kept(dataset: Any) -> list[Any]:
    """The image entries that are left after filtering."""
    path = Path(dataset.get("data_root") or "") / dataset["ann_file"]
    content = json.loads(path.read_text(encoding="utf-8"))
    images, filters = content["images"], dataset.get("filter_cfg") or {}
    if dataset.get("test_mode"):
        filters = {}
    if filters.get("filter_empty_gt"):
        classes = (dataset.get("metainfo") or {}).get("classes")
        wanted = {entry["id"] for entry in content["categories"] if classes is None or entry["name"] in classes}
        filled = {entry["image_id"] for entry in content["annotations"] if entry["category_id"] in wanted}
        images = [image for image in images if image["id"] in filled]
    smallest = filters.get("min_size", 0)
    return [image for image in images if min(image.get("width", math.inf), image.get("height", math.inf)) >= smallest]
