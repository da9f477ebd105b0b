"""The engine beside insightface's own loop: every photo once, and the same faces."""

import json
from pathlib import Path

import pytest

from app.engine import packs
from app.measure import bench_engine, reference
from app.measure.bench import photos_in, scenes_in
from app.measure.rows import Row
from app.settings import Settings
from tests import photos


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Two photos and the boxes of those of one."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    (folder / "group.jpg").write_bytes(photos.group())
    (folder / "person.png").write_bytes(photos.astronaut())
    boxes = [[180, 63, 91, 115]]
    document = {"columns": ["x", "y", "w", "h"], "images": {"person.png": boxes}}
    (tmp_path / "scenes-boxes.json").write_text(json.dumps(document))
    return folder


def figures(rows: list[Row]) -> dict[str, float]:
    return {row.what: row.figure for row in rows}


def test_both_see_every_photo_once_and_their_recall_is_shown(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_engine, "ROUNDS", 2)
    monkeypatch.setattr(bench_engine, "_network_rows", lambda *_: [])
    found = photos_in(scenes)
    rows = bench_engine.engine_rows(Settings(inference_threads=2), found, scenes_in(scenes, found))
    shown = figures(rows)
    loop = "insightface's loop, 2 processes"
    assert shown[f"{loop}: faces (reference)"] == shown["engine: faces"] == 7
    assert shown["engine, MIN_FACE_SIZE=36: faces"] == shown["engine, MIN_FACE_SIZE=40: faces"] == 7
    for name in (loop, "engine", "engine, MIN_FACE_SIZE=36", "engine, MIN_FACE_SIZE=40"):
        assert shown[f"{name}: recall of 1 faces from 40 px"] == 100
    ratios = {row.what: row.ratio for row in rows}
    assert ratios["engine"] is not None
    assert ratios["engine"] > 0


def test_boxes_of_the_reference_are_shares_of_the_photo(scenes: Path) -> None:
    settings = Settings()
    pack, folder = packs.require(settings.model_pack, settings.models_path)
    loop = reference.ReferenceLoop(folder / pack.detector.name, folder / pack.recogniser.name, 1)
    try:
        found = loop.run(photos_in(scenes))
    finally:
        loop.close()
    assert [len(boxes) for boxes in found.boxes] == [6, 1]
    ((left, top, width, height),) = found.boxes[1] * 512
    assert (left, top, width, height) == pytest.approx((180, 63, 91, 115), abs=12)
