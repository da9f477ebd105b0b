"""`python -m app evaluate`: accuracy on labelled faces, through the engine and through HTTP."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.domain import Box, Embed, Face
from app.engine.similarity import SimilarityCurve
from app.measure import (
    attributes,
    datasets,
    degraded,
    detection,
    fit,
    open_set,
    pairs_http,
    selfies,
    users,
    verification,
)
from app.measure.datasets import AnnotatedPhoto, LabelledPhoto
from app.measure.engine import LocalEngine, central
from app.measure.service import running
from app.settings import Settings, load_settings

RATES = [1e-3, 1e-4, 1e-5]
LABEL_ERRORS = Path(__file__).with_name("lfw_label_errors.txt")


@dataclass(frozen=True, slots=True)
class Gallery:
    """Embeddings of labelled photos: vectors (n, d), their strengths, each one's person, names."""

    vectors: NDArray[np.float32]
    strengths: NDArray[np.float32]
    people: NDArray[np.intp]
    names: list[str]
    without_face: int


def evaluate(data: Path, out: Path, *, fit_curve: bool) -> int:
    """Measure on `data/lfw-dev` and `data/wider-dev`; print a table and write JSON to `out`.

    `fit_curve` fits the Similarity curve and measures verification alone: the rest needs that curve.
    """
    settings = load_settings()
    report: dict[str, Any] = {"model_pack": settings.model_pack}
    engine = LocalEngine(settings)
    try:
        report["verification"] = _verification(engine, data, fit_curve=fit_curve)
        if fit_curve:
            return _written(report, out)
        report["detection"] = _detection(engine, data)
        report["attributes"] = _attributes(engine, data)
        cosine = SimilarityCurve.of(engine.pipeline.pack).cosine(80)
        report["quality_filter"] = _quality_filter(engine, data, cosine)
        report["selfies"] = _selfies(engine, data, cosine)
    finally:
        engine.close()
    report["pairs_over_http"] = _pairs_over_http(data, settings)
    return _written(report, out)


def _written(report: dict[str, Any], out: Path) -> int:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {out}")
    return 0


def _verification(engine: LocalEngine, data: Path, *, fit_curve: bool) -> dict[str, Any]:
    photos = datasets.people(data / "lfw-dev", datasets.names_in(LABEL_ERRORS))
    gallery = _embed(engine, photos)
    tail = verification.impostor_tail(gallery.vectors, gallery.people)
    genuine = verification.genuine_pairs(gallery.vectors, gallery.people)
    points = verification.operating_points(tail, genuine, gallery.people, RATES)
    print(
        f"lfw-dev: {len(gallery.names)} photos of {gallery.people.max() + 1} people, {tail.total} impostor "
        f"and {len(genuine.cosines)} genuine pairs, {gallery.without_face} photos without a face"
    )
    print(f"{'FMR':>8}  {'cosine (95 %)':>24}  {'TAR % (95 %)':>24}")
    for point in points:
        cosine, tar = point.cosine, point.tar
        print(
            f"{point.fmr:8.0e}  {cosine.value:8.4f} ({cosine.low:.4f}-{cosine.high:.4f})"
            f"  {100 * tar.value:8.2f} ({100 * tar.low:.2f}-{100 * tar.high:.2f})"
        )
    by_user = users.user_points(
        gallery.vectors,
        gallery.strengths,
        gallery.people,
        {point.fmr: point.cosine.value for point in points[1:]},
    )
    print("users of several faces: faces, rule, users, FMR, TAR % (95 %), FMR at the cosine of single photos")
    for at in by_user:
        share = f"{100 * at.tar.value:.2f} ({100 * at.tar.low:.2f}-{100 * at.tar.high:.2f})"
        print(f"{at.faces:5} {at.rule:>8} {at.users:6} {at.fmr:6.0e}  {share:>22}  {at.fmr_at_single:.1e}")
    if fit_curve:
        knots = verification.operating_points(tail, genuine, gallery.people, list(fit.SIMILARITY_AT_FMR))
        pack = engine.pipeline.pack
        source = f"lfw-dev, {tail.total} impostor pairs, without {LABEL_ERRORS.name}"
        path = fit.write(pack, knots, float(np.median(genuine.cosines)), source)
        print(f"similarity curve written to {path}")
    searched = open_set.open_set_points(
        gallery.vectors, gallery.people, open_set.rules(SimilarityCurve.of(engine.pipeline.pack))
    )
    _print_open_set(searched)
    return {
        "photos": len(gallery.names),
        "without_face": gallery.without_face,
        "impostor_pairs": tail.total,
        "genuine_pairs": len(genuine.cosines),
        "operating_points": [asdict(point) for point in points],
        "users": [asdict(at) for at in by_user],
        "open_set": [asdict(at) for at in searched],
    }


def _print_open_set(points: Sequence[open_set.OpenSetPoint]) -> None:
    print("open set: members, faces a member, rule, cosine; FNIR % (95 %), missed + wrong of probes, people;")
    print("  FPIR % (95 %), false hits of strangers' probes, people ever hit of people")
    for at in points:
        print(
            f"{at.members:5} {at.faces:4.1f} {at.rule:>10} {at.cosine:.4f}  {_percent(at.fnir)} "
            f"{at.missed} + {at.wrong} of {at.mated}, {at.mated_people};  {_percent(at.fpir)} "
            f"{at.false_hits} of {at.strangers}, {at.false_hit_people} of {at.stranger_people}"
        )


def _percent(share: verification.Interval) -> str:
    return f"{100 * share.value:.2f} ({100 * share.low:.2f}-{100 * share.high:.2f})"


def _embed(engine: LocalEngine, photos: Sequence[LabelledPhoto]) -> Gallery:
    """The central face of each photo."""
    found = engine.analyse_all([photo.path for photo in photos], Embed.ALL)
    seen = [
        (photo, face)
        for photo, faces in zip(photos, found, strict=True)
        if (face := central(faces)) is not None
    ]
    numbers = {person: number for number, person in enumerate(sorted({photo.person for photo, _ in seen}))}
    return Gallery(
        np.stack([face.embedding for _, face in seen if face.embedding is not None]),
        np.array([1.0 if face.strength is None else face.strength for _, face in seen], np.float32),
        np.array([numbers[photo.person] for photo, _ in seen]),
        [photo.name for photo, _ in seen],
        len(photos) - len(seen),
    )


def _detection(engine: LocalEngine, data: Path) -> dict[str, Any]:
    photos = datasets.annotated(data / "wider-dev", data / "wider-dev-boxes.json")
    faces = engine.analyse_all([photo.path for photo in photos], Embed.NONE)
    report = detection.compare(photos, found_in(photos, faces))
    print(
        f"wider-dev: {len(photos)} photos, {report.false_positives} false positives, {report.doubles} doubles"
    )
    for recall in report.recalls:
        size = f"{recall.from_px} " + (f"to {recall.to_px} px" if recall.to_px < 10_000 else "px and more")
        print(f"  faces of {size}: {recall.found} of {recall.faces}, {100 * recall.share:.1f} %")
    return {**asdict(report), "shares": [recall.share for recall in report.recalls]}


def _attributes(engine: LocalEngine, data: Path) -> dict[str, Any]:
    photos = datasets.people(data / "lfw-dev")
    pose = attributes.poses(engine, photos)
    print(f"pose, mean error in degrees on {pose.photos} photos: view, roll, yaw, pitch; then from 5 points")
    for view in pose.landmarks_turned:
        print(
            f"  turned {view:4} {_angles(pose.landmarks_turned[view])} {_angles(pose.detector_turned[view])}"
        )
    print(f"  mirrored    {_angles(pose.landmarks_mirrored)} {_angles(pose.detector_mirrored)}")
    signs = attributes.signs(engine, photos)
    for label, judged in signs.items():
        print(f"  {label}: {judged.right} of {judged.labelled} hand-labelled hard cases")
    return {"pose": asdict(pose), "signs": {label: asdict(judged) for label, judged in signs.items()}}


def _angles(errors: attributes.Errors) -> str:
    return f"{errors.roll:6.2f} {errors.yaw:6.2f} {errors.pitch:6.2f} ({errors.faces})"


def _quality_filter(engine: LocalEngine, data: Path, least_cosine: float) -> dict[str, Any]:
    photos = datasets.people(data / "lfw-dev", datasets.names_in(LABEL_ERRORS))
    found, lost = degraded.probes(engine, photos)
    changes = degraded.by_change(found, least_cosine)
    print(f"changed photos against clean ones, missed at cosine {least_cosine:.4f}; {lost} showed no face")
    for change, group in changes.items():
        print(f"  {change:>12}: {_missed(group)}")
    levels = degraded.levels(found, least_cosine)
    for level in levels:
        print(
            f"  {level.level}: removes {_missed(level.removed)}, beyond the level before "
            f"{_missed(level.newly_removed)}, keeps {_missed(level.kept)}"
        )
        for reason, group in level.by_reason.items():
            print(f"    {reason}: {_missed(group)}")
    return {
        "without_face": lost,
        "changes": {change: asdict(group) for change, group in changes.items()},
        "levels": [asdict(level) for level in levels],
    }


def _missed(group: degraded.Group) -> str:
    return f"{group.faces} faces, {100 * group.missed:.2f} % missed"


def _selfies(engine: LocalEngine, data: Path, least_cosine: float) -> dict[str, Any]:
    people = datasets.people(data / "lfw-dev", datasets.names_in(LABEL_ERRORS))
    scenes = datasets.annotated(data / "wider-dev", data / "wider-dev-boxes.json")
    outcomes = selfies.outcomes(engine, people, least_cosine)
    print("selfies: photos, found by the first try and matched, found by second tries and matched")
    for seen in outcomes:
        print(
            f"  {seen.change:>22}: {seen.photos:4} {seen.first:4} {seen.first_matching:4}"
            f" {sum(seen.second.values()):4} {seen.second_matching:4} {seen.second}"
        )
    false_finds = selfies.false_finds(engine, scenes)
    for faceless in false_finds:
        print(f"  {faceless.number} {faceless.pictures}: {faceless.first} {faceless.second} with a face")
    costs = selfies.costs(engine, scenes)
    for cost in costs:
        print(f"  no face in {cost.picture}: {cost.ratio:.2f} times the first try")
    return {
        "outcomes": [asdict(seen) for seen in outcomes],
        "false_finds": [asdict(faceless) for faceless in false_finds],
        "costs": [asdict(cost) for cost in costs],
    }


def found_in(photos: Sequence[AnnotatedPhoto], faces: Sequence[tuple[Face, ...]]) -> list[detection.Found]:
    """The engine's faces in pixels."""
    found = []
    for photo, seen in zip(photos, faces, strict=True):
        width, height = datasets.size_of(photo.path)
        boxes = np.array([_pixels(face.box, width, height) for face in seen]).reshape(-1, 4)
        found.append(detection.Found(boxes, width, height))
    return found


def _pixels(box: Box, width: int, height: int) -> tuple[float, float, float, float]:
    return box.left * width, box.top * height, box.width * width, box.height * height


def _pairs_over_http(data: Path, settings: Settings) -> dict[str, Any]:
    pairs = datasets.pairs(data / "lfw-dev-pairs.txt")
    with running(MODEL_PACK=settings.model_pack) as service:
        scores = pairs_http.similarities(service.url, data / "lfw-dev", pairs)
    accuracy = verification.best_accuracy(scores, np.array([pair.same for pair in pairs]))
    missed = int((scores == pairs_http.NOT_FOUND).sum())
    print(
        f"official pairs over HTTP: accuracy {100 * accuracy.value:.2f} % "
        f"({100 * accuracy.low:.2f}-{100 * accuracy.high:.2f}), {len(pairs)} pairs, "
        f"{missed} of them with a photo in which no face was found"
    )
    return {"pairs": len(pairs), "without_face": missed, "accuracy": asdict(accuracy)}
