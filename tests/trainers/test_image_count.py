"""The images of an epoch are told from the annotation file, as mmdet itself would count them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules

from trainers.image_count import count_images


@pytest.fixture
def coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A set of seven images: of cats, dogs and both, a tiny one, and three of nothing."""
    monkeypatch.chdir(tmp_path)
    register_all_modules(init_default_scope=True)
    sides = [64, 64, 64, 8, 64, 64, 64]
    images = [{"id": n, "file_name": f"{n}.png", "width": side, "height": 64} for n, side in enumerate(sides)]
    boxes = [(0, 1), (1, 2), (2, 1), (2, 2), (3, 1)]
    annotations = [
        {"id": n, "image_id": image, "category_id": kind, "bbox": [0, 0, 4, 4], "area": 16, "iscrowd": 0}
        for n, (image, kind) in enumerate(boxes)
    ]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    (tmp_path / "data").mkdir()
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "data/train.json").write_text(json.dumps(content))
    return {
        "type": "CocoDataset",
        "data_root": "data",
        "ann_file": "train.json",
        "data_prefix": {"img": ""},
        "metainfo": {"classes": ("cat", "dog")},
        "pipeline": [],
    }


def wrapped(kind: str, dataset: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {"type": kind, "dataset": dataset, **options}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 7),
        ({"filter_cfg": {"filter_empty_gt": True}}, 4),
        ({"filter_cfg": {"filter_empty_gt": True, "min_size": 32}}, 3),
        ({"filter_cfg": {"min_size": 32}}, 6),
        ({"filter_cfg": {"filter_empty_gt": True}, "metainfo": {"classes": ("dog",)}}, 2),
        ({"filter_cfg": {"filter_empty_gt": True}, "test_mode": True}, 7),
        ({"indices": 3}, 3),
        ({"indices": 30}, 7),
        ({"indices": [0, 5]}, 2),
    ],
)
def test_a_coco_set_is_counted_as_mmdet_counts_it(coco: dict[str, Any], options: dict[str, Any], expected: int) -> None:
    section = {**coco, **options}
    assert count_images(section) == expected
    assert len(DATASETS.build(section)) == expected


def test_wrappers_repeat_and_concatenate(coco: dict[str, Any]) -> None:
    both = {"type": "ConcatDataset", "datasets": [coco, {**coco, "indices": 2}]}
    assert count_images(wrapped("RepeatDataset", both, times=3)) == 3 * (7 + 2)
    assert count_images(wrapped("mmdet.MultiImageMixDataset", coco, pipeline=[])) == 7


@pytest.mark.parametrize(
    "text", [None, "", "{}", "[]", "nonsense", '{"images": 3, "annotations": [], "categories": []}', '{"images": [3]}']
)
def test_what_can_not_be_counted_is_not_guessed_at(coco: dict[str, Any], text: str | None) -> None:
    path = Path("data/train.json")
    path.unlink() if text is None else path.write_text(text)
    for section in (coco, {"type": "ConcatDataset", "datasets": [coco]}, wrapped("RepeatDataset", coco, times=2)):
        assert count_images(section) is None


def test_an_unknown_wrapper_is_not_counted(coco: dict[str, Any]) -> None:
    assert count_images(wrapped("ClassBalancedDataset", coco, oversample_thr=1e-3)) is None
    assert count_images(None) is None
