"""The digits set: real handwriting on real photographs, made once, without a download.

scikit-learn ships 1,797 handwritten digits (UCI Optical Recognition, 8 x 8) and two photographs. Pasted together they
are a small detection task (COCO format) and, digit by digit, a classification task that plays ImageNet's part in a
reignition. Training and validation use different digits and different parts of the photographs.

    python -m trainers.data.digits FOLDER

makes ``FOLDER/detection/{train,val}/*.png`` with ``train.json`` and ``val.json`` beside them, and
``FOLDER/classification/{train,val}/<digit>/*.png``. A finished folder is left as it is; an unfinished one never appears
under that name. The same scikit-learn gives the same pixels. This module must not know torch.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainers.errors import DataError
from trainers.parent import end_with_parent

Pixels = NDArray[np.float32]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1; x1 and y1 are outside

CLASSES = tuple(str(digit) for digit in range(10))
TRAIN_DIGITS = 1300  # the later ones, by other writers, are for validation
TRAIN_PHOTO = 2 / 3  # of a photograph's width; the rest is for validation
DIMMED = 0.45  # photographs are darkened to this, so that bright ink stays legible on them
INK = (160.0, 255.0)
DIGIT_SIDE = (0.20, 0.42)  # of the detection image's side
MAX_DIGITS = 4
VISIBLE = 0.25  # a pixel with at least this much ink belongs to the digit's box


@dataclass(frozen=True, slots=True)
class Size:
    """How much to make: detection images, classification crops (both per split), and their sides in pixels."""

    train: int = 300
    val: int = 100
    side: int = 96
    train_crops: int = 1300
    val_crops: int = 400
    crop_side: int = 48


class Split:
    """The digits and photograph parts that training or validation may use, and its own random numbers."""

    def __init__(self, train: bool) -> None:
        from sklearn.datasets import load_digits, load_sample_images  # a second, spared where the set is there already

        ink, labels = load_digits(return_X_y=True)
        mine = slice(0, TRAIN_DIGITS) if train else slice(TRAIN_DIGITS, None)
        self.ink: Pixels = ink[mine].reshape(-1, 8, 8).astype(np.float32) / 16
        self.labels = [int(label) for label in labels[mine]]
        self.random = np.random.default_rng(1 if train else 2)
        self.photos: list[Pixels] = []
        for photo in load_sample_images().images:
            border = int(photo.shape[1] * TRAIN_PHOTO)
            self.photos.append((photo[:, :border] if train else photo[:, border:]).astype(np.float32))

    def background(self, side: int) -> Pixels:
        """A darkened crop of a photograph, (side, side, 3), 0 to 255."""
        photo = self.photos[self.random.integers(len(self.photos))]
        y, x = (self.random.integers(length - side + 1) for length in photo.shape[:2])
        return photo[y : y + side, x : x + side] * DIMMED

    def paste(self, canvas: Pixels, index: int, side: int, taken: list[Box]) -> Box | None:
        """Draw digit `index` with `side` pixels somewhere on the canvas; its box, or None where it would overlap."""
        mask = Image.fromarray(self.ink[index]).resize((side, side), Image.Resampling.BILINEAR)
        alpha = np.asarray(mask, np.float32).clip(0, 1)
        y, x = (int(self.random.integers(length - side + 1)) for length in canvas.shape[:2])
        rows, columns = np.nonzero(alpha > VISIBLE)
        box = (x + int(columns.min()), y + int(rows.min()), x + int(columns.max()) + 1, y + int(rows.max()) + 1)
        if any(_overlap(box, other) for other in taken):
            return None
        ink = self.random.uniform(*INK, 3).astype(np.float32)
        patch = canvas[y : y + side, x : x + side]
        patch += (ink - patch) * alpha[..., None]
        return box


def make(folder: Path, size: Size | None = None) -> bool:
    """Make the set under `folder`; False where it is there already.

    Raises:
        DataError: `folder` exists and is something else.
    """
    if (folder / "detection").is_dir() and (folder / "classification").is_dir():
        return False
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: exists but holds no digits set; name a new folder, or remove this one")
    size = size or Size()
    building = folder.with_name(f".{folder.name}-{uuid4().hex}")
    try:
        building.mkdir(parents=True)
        for name, images, crops in (("train", size.train, size.train_crops), ("val", size.val, size.val_crops)):
            _detection(building / "detection", name, images, size.side)
            _classification(building / "classification" / name, name == "train", crops, size.crop_side)
        building.rename(folder)
    except OSError as error:
        if (folder / "detection").is_dir():  # another process was faster
            return False
        raise DataError(f"{folder}: the digits set could not be written: {error}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return True


def _detection(folder: Path, name: str, count: int, side: int) -> None:
    split, annotations = Split(name == "train"), []
    (folder / name).mkdir(parents=True)
    for image_id in range(1, count + 1):
        canvas, taken = split.background(side), []
        wanted = int(split.random.integers(1, MAX_DIGITS + 1))
        for _ in range(20 * wanted):
            index = int(split.random.integers(len(split.ink)))
            box = split.paste(canvas, index, int(split.random.uniform(*DIGIT_SIDE) * side), taken)
            if box is None:
                continue
            taken.append(box)
            annotations.append(_annotation(len(annotations) + 1, image_id, split.labels[index], box))
            if len(taken) == wanted:
                break
        _save(canvas, folder / name / f"{image_id:05d}.png")
    document = {
        "info": {"description": "handwritten digits on photographs, both from scikit-learn"},
        "images": [{"id": i, "file_name": f"{i:05d}.png", "width": side, "height": side} for i in range(1, count + 1)],
        "annotations": annotations,
        "categories": [{"id": number, "name": label} for number, label in enumerate(CLASSES)],
    }
    (folder / f"{name}.json").write_text(json.dumps(document))


def _classification(folder: Path, train: bool, count: int, side: int) -> None:
    split = Split(train)
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
    for index in range(min(count, len(split.ink))):
        canvas = split.background(side)
        split.paste(canvas, index, int(split.random.uniform(0.5, 0.95) * side), [])
        _save(canvas, folder / str(split.labels[index]) / f"{index:05d}.png")


def _annotation(number: int, image_id: int, label: int, box: Box) -> dict[str, object]:
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    return {
        "id": number,
        "image_id": image_id,
        "category_id": label,
        "bbox": [x0, y0, width, height],
        "area": width * height,
        "iscrowd": 0,
    }


def _overlap(a: Box, b: Box) -> bool:
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


def _save(canvas: Pixels, path: Path) -> None:
    Image.fromarray(canvas.round().clip(0, 255).astype(np.uint8)).save(path)


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.stderr.write("usage: python -m trainers.data.digits FOLDER\n")
        return 2
    folder = Path(sys.argv[1])
    try:
        made = make(folder)
    except DataError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{folder}: {'made' if made else 'there already'}\n")
    return 0


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main())
