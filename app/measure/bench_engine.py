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
from app.measure.engine import LocalEngine
from app.measure.floor import calls_of, floor_seconds
from app.measure.reference import ReferenceLoop, ReferenceRun
from app.measure.rows import Row
from app.settings import Settings

ROUNDS = 5
MODEL_RUNS = 40
STAND_IN_RUNS = 8
# Beside the photos of wider-dev, 1024 x 683 px, that is what the coarse pass sees.
_DETECTOR_SIZE = (448, 640)


@dataclass(slots=True)
class _Times:
    """Of each round, in seconds."""

    engine: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    reference: list[ReferenceRun] = field(default_factory=list)


def engine_rows(settings: Settings, photos: Sequence[Path]) -> list[Row]:
    """The engine on all cores, insightface's loop and the bare networks in turn with it."""
    pack, folder = packs.require(settings.model_pack, settings.models_path)
    detector, recogniser = folder / pack.detector.name, folder / pack.recogniser.name
    engine = LocalEngine(settings)
    reference = ReferenceLoop(detector, recogniser, engine.threads)
    times, faces = _Times(), 0
    try:
        reference.run(photos[:8])
        calls = calls_of(engine, photos, Embed.ALL)
        for _ in range(ROUNDS):
            times.reference.append(reference.run(photos))
            began = time.perf_counter()
            faces = sum(len(found) for found in engine.analyse_all(photos, Embed.ALL))
            times.engine.append(time.perf_counter() - began)
            times.floor.append(floor_seconds(photos, calls, engine.threads))
    finally:
        reference.close()
        engine.close()
    return [*_compared(times, len(photos), faces, engine.threads), *_network_rows(detector, recogniser)]


def _compared(times: _Times, photos: int, faces: int, threads: int) -> list[Row]:
    """Rates are medians; a ratio is the median of the rounds' own: machines change their speed."""
    ours, floor = (photos / statistics.median(each) for each in (times.engine, times.floor))
    reference = [run.seconds for run in times.reference]
    to_reference, to_floor = (
        statistics.median(other / engine for other, engine in zip(others, times.engine, strict=True))
        for others in (reference, times.floor)
    )
    reference_faces = times.reference[0].faces
    more = faces / max(1, reference_faces)
    return [
        Row(
            f"insightface's loop, {threads} processes (reference)",
            photos / statistics.median(reference),
            "photos/s",
            1.0,
        ),
        Row(f"engine, {threads} threads", ours, "photos/s", to_reference),
        Row("faces found by insightface's loop (reference)", reference_faces, "faces", 1.0),
        Row("faces found by the engine", faces, "faces", more),
        Row("faces embedded by the engine", faces * ours / photos, "faces/s", more * to_reference),
        Row("plain decoding and bare networks of the engine (reference)", floor, "photos/s", 1.0),
        Row("engine, to that", ours, "photos/s", to_floor),
    ]


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
