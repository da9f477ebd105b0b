"""`python -m app evaluate`: accuracy on labelled faces, one's own or published, as JSON and as a page."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from app import __version__
from app.domain import Embed, Face
from app.engine.packs import Family, PackNotInstalledError, folder_of
from app.engine.pipeline import Pipeline
from app.engine.similarity import SimilarityCurve
from app.errors import ServiceError
from app.measure import detection, fit, layout, pairs_http, recognition, report, studies, verification, worst
from app.measure.against_insightface import Contender, contenders
from app.measure.datasets import AnnotatedPhoto, DatasetError
from app.measure.engine import LocalEngine, central
from app.measure.layout import Data
from app.measure.recognition import Recognition
from app.measure.service import running
from app.measure.spread import Spread
from app.measure.worst import Worst
from app.settings import Settings, SettingsError, load_settings

FOLDS = 10
# Fewer pairs leave folds of one.
LEAST_PAIRS = 2 * FOLDS


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for: to fit the Similarity curve, and to show the worst pairs' faces."""

    fit_curve: bool
    photos: bool


def evaluate(data: Path, out: Path, options: Options) -> int:
    """Measure on a folder, print tables, write JSON and a page beside it; returns the exit status."""
    try:
        settings = load_settings()
        found, extra = _measured(settings, layout.read(data), options)
    except (DatasetError, PackNotInstalledError, SettingsError) as error:
        print(f"svc-face-recon: {error}", file=sys.stderr)
        return 1
    page = out.with_suffix(".html")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(_without_pictures(found) | extra, indent=2) + "\n")
    page.write_text(report.page(found, photos=options.photos), "utf-8")
    print(f"written to {out} and {page}")
    return 0


def _measured(settings: Settings, data: Data, options: Options) -> tuple[report.Findings, dict[str, Any]]:
    """What the page tells, and what else the JSON holds."""
    if 0 < len(data.pairs) < LEAST_PAIRS:
        raise DatasetError(f"{len(data.pairs)} pairs are too few: {LEAST_PAIRS} are needed for {FOLDS} folds")
    engine = LocalEngine(settings)
    found = report.Findings(_about(engine.pipeline), None, None, None, None)
    extra: dict[str, Any] = {}
    try:
        if data.people:
            found, extra = _recognised(engine, data, found, options)
        if options.fit_curve:
            return found, extra  # the rest needs the new curve
        if data.scenes:
            found = replace(found, detection=_detected(engine, settings, data.scenes))
        if data.is_lfw:
            extra |= studies.of_faces(engine, data.everybody, data.people, data.scenes)
    finally:
        engine.close()
    if data.pairs:
        found = replace(found, pairs_over_http=_pairs_over_http(data, settings))
    return found, extra


def _without_pictures(found: report.Findings) -> dict[str, Any]:
    bare = None
    if found.worst is not None:
        bare = Worst(
            *(
                tuple(replace(pair, pictures=()) for pair in kind)
                for kind in (found.worst.different, found.worst.same)
            )
        )
    return asdict(replace(found, worst=bare))


def _about(pipeline: Pipeline) -> report.About:
    pack = pipeline.pack
    fitted, source = fit.origin(pack)
    return report.About(
        __version__,
        onnxruntime.__version__,
        pipeline.runtime.name,
        pack.name,
        pack.detector.name,
        pack.recogniser.name,
        pack.face_model_version,
        fitted,
        source,
    )


def _recognised(
    engine: LocalEngine, data: Data, found: report.Findings, options: Options
) -> tuple[report.Findings, dict[str, Any]]:
    pack = engine.pipeline.pack
    curve = SimilarityCurve.of(pack)
    gallery, counted = recognition.embed(engine, data.people, central if data.is_lfw else _largest)
    compared = recognition.compare(gallery, curve)
    measured = recognition.measure(compared, counted, curve, data.groups)
    _print(data.name, measured)
    if options.fit_curve:
        left_out = len(data.everybody) - len(data.people)
        print(f"similarity curve written to {fit.write(pack, measured, data.name, left_out)}")
        seen = f"{len(gallery.vectors)} photos of {len(np.unique(gallery.people))} people"
        if gallery.vectors.shape[1] == len(Spread.load().mean):
            Spread.fit(gallery.vectors, gallery.people, f"pack {pack.name}, {data.name}, {seen}").write()
    found = replace(found, recognition=measured, worst=worst.worst(compared, curve, pictures=options.photos))
    return found, studies.of_gallery(gallery, measured, curve) if data.is_lfw else {}


def _largest(faces: Sequence[Face]) -> Face | None:
    """The face that the service compares."""
    return faces[0] if faces else None


def _print(name: str, found: Recognition) -> None:
    counted = found.counted
    print(
        f"{name}: {counted.photos} photos of {counted.people} people, {found.impostor_pairs} impostor and "
        f"{found.genuine_pairs} genuine pairs, {len(counted.without_face)} photos without a face, "
        f"{len(counted.unreadable)} that cannot be read"
    )
    print(f"{'FMR':>8}  {'cosine (95 %)':>24}  {'TAR % (95 %)':>24}")
    for point in found.operating_points:
        cosine, tar = point.cosine, point.tar
        print(
            f"{point.fmr:8.0e}  {cosine.value:8.4f} ({cosine.low:.4f}-{cosine.high:.4f})"
            f"  {100 * tar.value:8.2f} ({100 * tar.low:.2f}-{100 * tar.high:.2f})"
        )
    for at in found.promises:
        fmr = at.measured.fmr
        print(
            f"Similarity {at.similarity:g} promises FMR {at.promised_fmr:g}, measured {fmr.value:.2g} "
            f"({fmr.low:.2g}-{fmr.high:.2g}), {at.measured.false_matches} false matches"
        )
    for warning in found.warnings:
        print(f"  warning: {warning}")


def _detected(engine: LocalEngine, settings: Settings, photos: Sequence[AnnotatedPhoto]) -> report.Detection:
    try:
        faces = engine.analyse_all([photo.path for photo in photos], Embed.NONE)
    except ServiceError as error:
        raise DatasetError(f"an annotated photo cannot be read: {error}") from error
    found = [
        detection.found_in(photo, detection.shares_of(seen))
        for photo, seen in zip(photos, faces, strict=True)
    ]
    compared = detection.compare(photos, found)
    print(f"{len(photos)} scenes, {compared.false_positives} false positives, {compared.doubles} doubles")
    for recall in compared.recalls:
        size = f"{recall.from_px} " + (f"to {recall.to_px} px" if recall.to_px < 10_000 else "px and more")
        print(f"  faces of {size}: {recall.found} of {recall.faces}, {100 * recall.share:.1f} %")
    return report.Detection(len(photos), compared, _beside_insightface(engine, settings, photos))


def _beside_insightface(
    engine: LocalEngine, settings: Settings, photos: Sequence[AnnotatedPhoto]
) -> tuple[Contender, ...]:
    """The engine's detector and insightface's, where they have the same network."""
    pack = engine.pipeline.pack
    if pack.family is not Family.INSIGHTFACE:
        return ()
    model = folder_of(pack, settings.models_path) / pack.detector.name
    against = contenders(model, engine.pipeline.min_score, photos)
    print("detectors: ms a photo on one thread; false positives in all, recall from 20, 40, 80 px")
    for one in against:
        print(f"  {one.name}: {one.ms:.1f} ms")
        for point in one.points:
            shares = ", ".join(f"{100 * recall.share:.1f} %" for recall in point.recalls)
            print(f"    {point.allowed:4}: {shares}")
    return tuple(against)


def _pairs_over_http(data: Data, settings: Settings) -> report.PairsOverHttp:
    with running(MODEL_PACK=settings.model_pack) as service:
        scores = pairs_http.similarities(service.url, data.folder, data.pairs)
    same = np.array([pair.same for pair in data.pairs])
    accuracy = verification.best_accuracy(scores, same, FOLDS)
    missed = int((scores == pairs_http.NOT_FOUND).sum())
    print(
        f"pairs over HTTP: accuracy {100 * accuracy.value:.2f} % "
        f"({100 * accuracy.low:.2f}-{100 * accuracy.high:.2f}), {len(data.pairs)} pairs, "
        f"{missed} of them with a photo that is refused or shows no face"
    )
    return report.PairsOverHttp(len(data.pairs), missed, accuracy)
