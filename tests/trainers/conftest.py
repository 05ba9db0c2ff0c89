"""A digits set of a few small images, the shipped template scaled to it, and one open trainer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainers import mmcv_ops
from trainers.data import digits
from trainers.protocol import NetworkRef, WorkerSetup

mmcv_ops.install()  # so that test modules may import mmdet.models at their top

from detecting import Outcome, opened, train  # noqa: E402 (mmdet needs the operators)

from trainers.detection import DetectionTrainer  # noqa: E402

SHIPPED = Path(__file__).parents[2] / "examples/digits/faster_rcnn_r50_fpn_1x.py"


@pytest.fixture(scope="session")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search's folder: template.py, and its data where the template looks for them."""
    folder = tmp_path_factory.mktemp("search")
    size = digits.Size(train=12, val=6, side=64, train_crops=60, val_crops=40, crop_side=32)
    digits.make(folder / "data/digits", size)
    (folder / "template.py").write_text(SHIPPED.read_text().replace("side = 96", "side = 64"))
    return folder


@pytest.fixture(scope="session")
def setup(workdir: Path) -> WorkerSetup:
    return WorkerSetup(
        device="cpu:0",
        template=workdir / "template.py",
        workdir=workdir,
        checkpoints=workdir / "run/checkpoints",
        logs=workdir / "run/logs",
        image_size=(64, 64),
    )


@pytest.fixture(scope="session")
def seed_network() -> NetworkRef:
    ids = (("s.1",), ("s.2", "s.3"), ("s.4",), ("s.5",))
    return NetworkRef(candidate_id="s-0001", code="b_1-12-2-2_0-0-0-0", block_ids=ids, base_width=8)


@pytest.fixture
def in_workdir(workdir: Path) -> Iterator[None]:
    """Relative paths of the template are read from the search's folder."""
    before = Path.cwd()
    os.chdir(workdir)
    yield
    os.chdir(before)


@pytest.fixture(scope="session")
def trainer(setup: WorkerSetup, workdir: Path) -> DetectionTrainer:
    """The shipped template, open on the small set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workdir)
        return opened(setup, workdir)


@pytest.fixture(scope="session")
def seed(trainer: DetectionTrainer, seed_network: NetworkRef, workdir: Path) -> Outcome:
    """The first network, trained for two epochs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workdir)
        return train(trainer, seed_network, epochs=2)
