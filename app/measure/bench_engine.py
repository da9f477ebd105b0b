"""The engine against insightface's own loop, and against what its networks need at the least."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from app.domain import Embed
from app.engine import packs
from app.engine.onnx_session import open_session
from app.measure import stand_ins
from app.measure.datasets import AnnotatedPhoto
from app.measure.detection import FROM_40_PX, Boxes, compare, found_in, shares_of
from app.measure.engine import LocalEngine
from app.measure.floor import calls_of, floor_seconds
from app.measure.reference import ReferenceLoop
from app.measure.rows import Row
from app.settings import Settings

ROUNDS = 5
MODEL_RUNS = 40
STAND_IN_RUNS = 8
# Rekognition's own least size, and what nearly all faces have that are annotated with it: boxes are a tenth
# smaller than annotated ones.
_LEAST_SIZES = (36.0, 40.0)
# Beside the photos of wider-dev, 1024 x 683 px, that is what the coarse pass sees.
_DETECTOR_SIZE = (448, 640)


@dataclass(slots=True)
class _Times:
    """Of each round, in seconds."""

    engine: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)


def engine_rows(
    settings: Settings, photos: Sequence[Path], scenes: Sequence[AnnotatedPhoto] = ()
) -> list[Row]:
    """The engine on all cores, insightface's loop and the bare networks in turn with it.

    Args:
        photos: what is worked on.
        scenes: those of the photos whose faces are annotated: recall is shown beside the speed.
    """
    pack, folder = packs.require(settings.model_pack, settings.models_path)
    detector, recogniser = folder / pack.detector.name, folder / pack.recogniser.name
    engines = {"engine": LocalEngine(settings)} | {
        f"engine, MIN_FACE_SIZE={size:.0f}": LocalEngine(settings.model_copy(update={"min_face_size": size}))
        for size in _LEAST_SIZES
    }
    threads = engines["engine"].threads
    reference = ReferenceLoop(detector, recogniser, threads)
    times = {name: _Times() for name in engines}
    seconds, faces = [], {}
    try:
        found = reference.run(photos[:8])
        calls = {name: calls_of(engine, photos, Embed.ALL) for name, engine in engines.items()}
        for _ in range(ROUNDS):
            found = reference.run(photos)
            seconds.append(found.seconds)
            for name, engine in engines.items():
                began = time.perf_counter()
                faces[name] = engine.analyse_all(photos, Embed.ALL)
                times[name].engine.append(time.perf_counter() - began)
                times[name].floor.append(floor_seconds(photos, calls[name], threads))
    finally:
        reference.close()
        for engine in engines.values():
            engine.close()
    name = f"insightface's loop, {threads} processes"
    rows = [
        Row(f"{name} (reference)", len(photos) / statistics.median(seconds), "photos/s", 1.0),
        Row(f"{name}: faces (reference)", found.faces, "faces", 1.0),
        *_recall_rows(name, photos, scenes, found.boxes),
    ]
    for name, each in faces.items():
        rows += _compared(name, times[name], seconds, [len(shown) for shown in each], found.faces)
        rows += _recall_rows(name, photos, scenes, [shares_of(shown) for shown in each])
    return [*rows, *_network_rows(detector, recogniser)]


def _compared(
    name: str, times: _Times, reference: Sequence[float], faces: Sequence[int], reference_faces: int
) -> list[Row]:
    """Rates are medians; a ratio is the median of the rounds' own: machines change their speed."""
    ours, floor = (len(faces) / statistics.median(each) for each in (times.engine, times.floor))
    to_reference, to_floor = (
        statistics.median(other / engine for other, engine in zip(others, times.engine, strict=True))
        for others in (reference, times.floor)
    )
    more = sum(faces) / max(1, reference_faces)
    return [
        Row(name, ours, "photos/s", to_reference),
        Row(f"{name}: faces", sum(faces), "faces", more),
        Row(f"{name}: faces embedded", ours * sum(faces) / len(faces), "faces/s", more * to_reference),
        Row(f"{name}: plain decoding and its bare networks (reference)", floor, "photos/s", 1.0),
        Row(f"{name}, to that", ours, "photos/s", to_floor),
    ]


def _recall_rows(
    name: str, photos: Sequence[Path], scenes: Sequence[AnnotatedPhoto], boxes: Sequence[Boxes]
) -> list[Row]:
    """What is found of the annotated faces; `boxes` are shares of the photos' sides."""
    if not scenes:
        return []
    of_photo = dict(zip(photos, boxes, strict=True))
    found = [found_in(scene, of_photo[scene.path]) for scene in scenes]
    (recall,) = compare(scenes, found, [FROM_40_PX]).recalls
    return [Row(f"{name}: recall of {recall.faces} faces from 40 px", 100 * recall.share, "%")]


def _network_rows(detector: Path, recogniser: Path) -> list[Row]:
    height, width = _DETECTOR_SIZE
    detect, embed = _run_ms(detector, _DETECTOR_SIZE, MODEL_RUNS), _run_ms(recogniser, (112, 112), MODEL_RUNS)
    with TemporaryDirectory() as made:
        folder = Path(made)
        large_detect = _run_ms(stand_ins.scrfd_10g(folder / "detector.onnx"), _DETECTOR_SIZE, STAND_IN_RUNS)
        large_embed = _run_ms(stand_ins.iresnet50(folder / "recogniser.onnx"), (112, 112), STAND_IN_RUNS)
    return [
        Row(f"bare detector, {width} x {height}, one thread (reference)", detect, "ms", 1.0),
        Row("stand-in of buffalo_l's detector, the same", large_detect, "ms", large_detect / detect),
        Row("bare recogniser, one face, one thread (reference)", embed, "ms", 1.0),
        Row("stand-in of buffalo_l's recogniser, the same", large_embed, "ms", large_embed / embed),
    ]


def _run_ms(network: Path, size: tuple[int, int], runs: int) -> float:
    session = open_session(network)
    feed = {session.get_inputs()[0].name: np.random.default_rng(5).random((1, 3, *size), dtype=np.float32)}
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        session.run(None, feed)
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)
