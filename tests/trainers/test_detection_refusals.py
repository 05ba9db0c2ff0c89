"""What is wrong with a template or its data is told before, or as, it is met, and whose it is to mend."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from detecting import opened, train

from trainers.errors import DataError, TemplateError
from trainers.faults import fault_of, message_of
from trainers.protocol import NetworkRef, WorkerSetup

pytestmark = pytest.mark.usefixtures("in_workdir")
torch.set_num_threads(1)


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


@pytest.mark.parametrize("by_other_processes", [False, True])
@pytest.mark.parametrize("content", [b"no image", b""])
def test_image_broken_half_way_is_the_users_to_mend(
    setup: WorkerSetup, workdir: Path, seed_network: NetworkRef, content: bytes, by_other_processes: bool
) -> None:
    broken = workdir / "data/broken"
    shutil.copytree(workdir / "data/digits/detection", broken, dirs_exist_ok=True)
    (broken / "train/00007.png").write_bytes(content)
    changes = "train_dataloader['dataset'].update(data_root='data/broken/')\ntrain_dataloader['num_workers'] = 1\n"
    trainer = opened(setup, workdir, changes)
    trainer.data._loader_processes = by_other_processes
    with pytest.raises(DataError) as caught:
        train(trainer, seed_network)
    assert fault_of(caught.value) == "data"
    assert re.match(r"data/broken/train/00007\.png can't be used: .*[^\n]$", message_of(caught.value))


def test_annotations_damaged_meanwhile_are_the_users_to_mend(
    setup: WorkerSetup, workdir: Path, seed_network: NetworkRef
) -> None:
    annotations = workdir / "data/short.json"
    shutil.copy(workdir / "data/digits/detection/val.json", annotations)
    trainer = opened(setup, workdir, "val_evaluator.update(ann_file='data/short.json')\n")
    annotations.write_bytes(annotations.read_bytes()[:1000])
    with pytest.raises(TemplateError, match=r"ann_file data/short\.json") as caught:
        train(trainer, seed_network)
    assert fault_of(caught.value) == "data"


def test_categories_that_match_no_class_are_the_users_to_mend(setup: WorkerSetup, workdir: Path) -> None:
    document = json.loads((workdir / "data/digits/detection/train.json").read_text())
    for category in document["categories"]:
        category["name"] = f"digit {category['name']}"
    (workdir / "data/digits/detection/renamed.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"no image with a box of its classes.*renamed\.json"):
        opened(setup, workdir, "train_dataloader['dataset'].update(ann_file='renamed.json')\n")
