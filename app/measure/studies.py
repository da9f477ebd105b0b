"""What else is known of lfw-dev and wider-dev: users, open sets, attributes, poor photos, selfies."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from app.engine.similarity import SimilarityCurve
from app.measure import attributes, degraded, open_set, selfies, users, verification
from app.measure.datasets import AnnotatedPhoto, LabelledPhoto
from app.measure.engine import LocalEngine
from app.measure.recognition import Gallery, Recognition

# Between these false-match rates of single photos, users of several faces are compared.
USER_RATES = (1e-4, 1e-5)


def of_gallery(gallery: Gallery, found: Recognition, curve: SimilarityCurve) -> dict[str, Any]:
    """Users of several faces, and searches for members among strangers; printed and returned."""
    single = {at.fmr: at.cosine.value for at in found.operating_points if at.fmr in USER_RATES}
    by_user = users.user_points(gallery.vectors, gallery.strengths, gallery.people, single)
    print("users of several faces: faces, rule, users, FMR, TAR % (95 %), FMR at the cosine of single photos")
    for at in by_user:
        share = f"{100 * at.tar.value:.2f} ({100 * at.tar.low:.2f}-{100 * at.tar.high:.2f})"
        print(f"{at.faces:5} {at.rule:>8} {at.users:6} {at.fmr:6.0e}  {share:>22}  {at.fmr_at_single:.1e}")
    searched = open_set.open_set_points(gallery.vectors, gallery.people, open_set.rules(curve))
    _print_open_set(searched)
    return {"users": [asdict(at) for at in by_user], "open_set": [asdict(at) for at in searched]}


def of_faces(
    engine: LocalEngine,
    everybody: Sequence[LabelledPhoto],
    people: Sequence[LabelledPhoto],
    scenes: Sequence[AnnotatedPhoto],
) -> dict[str, Any]:
    """Attributes of everybody; poor photos and, where there are scenes, selfies of `people`, whose labels are
    right; printed and returned."""
    least_cosine = SimilarityCurve.of(engine.pipeline.pack).cosine(80)
    return {
        "attributes": _attributes(engine, everybody),
        "quality_filter": _quality_filter(engine, people, least_cosine),
        "selfies": _selfies(engine, people, scenes, least_cosine) if scenes else None,
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


def _attributes(engine: LocalEngine, photos: Sequence[LabelledPhoto]) -> dict[str, Any]:
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


def _quality_filter(
    engine: LocalEngine, photos: Sequence[LabelledPhoto], least_cosine: float
) -> dict[str, Any]:
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


def _selfies(
    engine: LocalEngine,
    people: Sequence[LabelledPhoto],
    scenes: Sequence[AnnotatedPhoto],
    least_cosine: float,
) -> dict[str, Any]:
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
