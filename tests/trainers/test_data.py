"""The digits set: what a user finds in the folder, and when it is left alone."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainers.data import digits
from trainers.errors import DataError

TINY = digits.Size(train=6, val=4, side=64, train_crops=30, val_crops=20, crop_side=32)


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "new/digits"
    assert digits.make(folder, TINY)
    return folder


@pytest.mark.parametrize(("split", "images"), [("train", 6), ("val", 4)])
def test_detection_set_is_coco_with_legible_digits_inside_their_boxes(made: Path, split: str, images: int) -> None:
    document = json.loads((made / f"detection/{split}.json").read_text())
    assert [category["name"] for category in document["categories"]] == list("0123456789")
    assert len(document["images"]) == images
    assert {a["image_id"] for a in document["annotations"]} == {image["id"] for image in document["images"]}
    assert min(a["id"] for a in document["annotations"]) >= 1  # pycocotools takes id 0 for "no match"
    names = {image["id"]: image["file_name"] for image in document["images"]}
    for annotation in document["annotations"]:
        pixels = np.asarray(Image.open(made / "detection" / split / names[annotation["image_id"]]))
        assert pixels.shape == (64, 64, 3)
        x, y, width, height = annotation["bbox"]
        inside = pixels[y : y + height, x : x + width]
        assert inside.shape[:2] == (height, width)
        assert inside.max() > 255 * digits.DIMMED  # ink is brighter than any photograph can be


def test_classification_set_has_a_folder_for_each_digit(made: Path) -> None:
    for split, crops in (("train", 30), ("val", 20)):
        folders = sorted((made / "classification" / split).iterdir())
        assert [folder.name for folder in folders] == list("0123456789")
        assert sum(len(list(folder.glob("*.png"))) for folder in folders) == crops


def test_training_and_validation_share_no_digit_and_no_part_of_a_photograph() -> None:
    train, val = digits.Split(train=True), digits.Split(train=False)
    assert len(train.ink) + len(val.ink) == 1797
    assert not {ink.tobytes() for ink in train.ink} & {ink.tobytes() for ink in val.ink}
    assert [a.shape[1] + b.shape[1] for a, b in zip(train.photos, val.photos, strict=True)] == [640, 640]


def test_made_twice_the_files_are_the_same(made: Path, tmp_path: Path) -> None:
    digits.make(tmp_path / "again", TINY)
    assert contents(tmp_path / "again") == contents(made)


def test_finished_set_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    digits.make(folder, TINY)
    changed = folder / "detection/train/00001.png"
    changed.write_bytes(b"mine")
    assert not digits.make(folder, TINY)
    assert changed.read_bytes() == b"mine"


def test_interrupted_making_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(digits, "_classification", interrupt)
    with pytest.raises(KeyboardInterrupt):
        digits.make(tmp_path / "digits", TINY)
    assert list(tmp_path.iterdir()) == []


def test_folder_of_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("keep me")
    with pytest.raises(DataError, match="holds no digits set"):
        digits.make(tmp_path, TINY)
    assert contents(tmp_path).keys() == {"notes.txt"}


def test_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="could not be written"):
        digits.make(tmp_path / "file/digits", TINY)


def test_command_without_a_folder_says_its_usage() -> None:
    done = subprocess.run([sys.executable, "-m", "trainers.data.digits"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "python -m trainers.data.digits FOLDER" in done.stderr


def test_command_says_what_it_found(made: Path) -> None:
    command = [sys.executable, "-m", "trainers.data.digits", str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{made}: there already\n")
