"""Detection data: the same batches, whoever loads the images."""

from __future__ import annotations

import pytest
from mmdet.utils import register_all_modules

from trainers.data.detection import DetectionData
from trainers.protocol import WorkerSetup
from trainers.template import load_template


@pytest.mark.usefixtures("in_workdir")
def test_processes_that_load_images_change_neither_their_order_nor_their_content(setup: WorkerSetup):
    register_all_modules(init_default_scope=True)
    template = load_template(setup.template)
    template.train_dataloader.num_workers = 2
    mine, theirs = (
        list(DetectionData(template, loader_processes=processes).train_batches(seed=3)) for processes in (False, True)
    )
    assert len(mine) == len(theirs) > 1
    for one, other in zip(mine, theirs, strict=True):
        assert all((a == b).all() for a, b in zip(one["inputs"], other["inputs"], strict=True))
