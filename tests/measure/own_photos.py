"""A folder of photos by person, made of the packaged ones, as a user of `evaluate` has it."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from app.domain import Embed
from app.measure.engine import LocalEngine, analyse
from tests import photos

# The second is what a hostile or careless name may look like.
NAMES = ("Ann", "<script>", "Bo & Co", "Di", "Ed", "Flo")
MARGIN = 0.6


def make(folder: Path, engine: LocalEngine) -> None:
    """Six people with three photos each, one of whom has a photo without a face and one that is none."""
    group = photos.opened(photos.group())
    faces = analyse(engine.pipeline, photos.group(), Embed.NONE)
    width, height = group.size
    boxes = []
    for name, face in zip(NAMES, sorted(faces, key=lambda face: face.box.left), strict=True):
        box = face.box
        boxes.append([box.left * width, box.top * height, box.width * width, box.height * height])
        side = MARGIN * boxes[-1][2]
        left, top, across, down = boxes[-1]
        plain = group.crop(
            (round(left - side), round(top - side), round(left + across + side), round(top + down + side))
        )
        _save(folder / name, plain, ImageOps.mirror(plain), ImageEnhance.Brightness(plain).enhance(0.6))
    (folder / "Ann" / "sky.jpg").write_bytes(photos.without_face())
    (folder / "Ann" / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    rows = [f"{name},{'left' if at < 3 else 'right'}\n" for at, name in enumerate(NAMES[:5])]
    (folder / "groups.csv").write_text("person,group\n" + "".join(rows))
    (folder / "scene.jpg").write_bytes(photos.group())
    document = {"columns": ["x", "y", "w", "h"], "images": {"scene.jpg": np.round(boxes, 1).tolist()}}
    (folder / "boxes.json").write_text(json.dumps(document))


def _save(folder: Path, *images: Image.Image) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        (folder / f"{number}.jpg").write_bytes(photos.encode(image))
