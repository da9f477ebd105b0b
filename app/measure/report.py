"""What `evaluate` found, as one HTML page that loads nothing from elsewhere."""

from dataclasses import dataclass
from html import escape

from app.measure.against_insightface import Contender
from app.measure.charts import det_chart, histogram_chart
from app.measure.detection import DetectionReport
from app.measure.html_parts import STYLE, Markup, listing, table
from app.measure.recognition import Promise, Recognition
from app.measure.verification import Interval
from app.measure.worst import Worst, WorstPair

NOTICE = "This page contains faces and names. It is for local use: do not share it."
WITHOUT_PHOTOS = "This page contains names of people and photos, but no pictures."


@dataclass(frozen=True, slots=True)
class About:
    """What was measured with: versions, models and the Similarity curve in use."""

    service: str
    onnxruntime: str
    runtime: str
    model_pack: str
    detector: str
    recogniser: str
    face_model_version: str
    curve_fitted: bool
    curve_source: str


@dataclass(frozen=True, slots=True)
class Detection:
    """Faces found in annotated photos, beside insightface's own detector."""

    photos: int
    report: DetectionReport
    contenders: tuple[Contender, ...]


@dataclass(frozen=True, slots=True)
class PairsOverHttp:
    """Accuracy of CompareFaces on pairs, and how many have a photo that is refused or shows no face."""

    pairs: int
    without_face: int
    accuracy: Interval


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a page tells; None where there was nothing to measure it on."""

    about: About
    recognition: Recognition | None
    worst: Worst | None
    pairs_over_http: PairsOverHttp | None
    detection: Detection | None


def page(findings: Findings, *, photos: bool) -> str:
    """The page; `photos` says whether the worst pairs hold pictures."""
    parts = [_notice(NOTICE if photos else WITHOUT_PHOTOS), _about(findings.about)]
    if findings.recognition is not None:
        parts.append(_recognition(findings.recognition))
    if findings.pairs_over_http is not None:
        parts.append(_pairs(findings.pairs_over_http))
    if findings.detection is not None:
        parts.append(_detection(findings.detection))
    if findings.worst is not None:
        parts.append(_worst(findings.worst))
    if findings.recognition is not None:
        counted = findings.recognition.counted
        parts.append(_names("Photos in which no face was found", counted.without_face))
        parts.append(_names("Photos that could not be read", counted.unreadable))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Face recognition, measured</title><style>{STYLE}</style></head><body>\n"
        "<h1>Face recognition, measured</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _notice(text: str) -> str:
    return f'<p class="notice">{escape(text)}</p>'


def _about(about: About) -> str:
    fitted = "fitted to measured rates" if about.curve_fitted else "NOT fitted for this recogniser"
    rows = [
        ("service", f"svc-face-recon {about.service}, ONNX Runtime {about.onnxruntime}"),
        ("runtime", about.runtime),
        ("model pack", f"{about.model_pack}: {about.detector}, {about.recogniser}"),
        ("face model version", about.face_model_version),
        ("Similarity curve", f"{fitted}. {about.curve_source}"),
    ]
    return "<h2>Measured with</h2>" + table(None, rows)


def _recognition(found: Recognition) -> str:
    counted = found.counted
    parts = [
        "<h2>Recognition</h2>",
        f"<p>{counted.photos} photos of {counted.people} people were compared: {found.impostor_pairs} pairs "
        f"of different people, {found.genuine_pairs} pairs of the same person. {counted.with_several_faces} "
        "photos show several faces, of which one was taken. Intervals are 95 %, from resampling people.</p>",
    ]
    if found.warnings:
        parts.append("<h3>Before you trust these figures</h3>" + listing(found.warnings))
    parts.append("<h3>What the service's Similarity promises, and what these photos show</h3>")
    parts.append(table(_PROMISE_HEAD, (_promise(at) for at in found.promises)))
    parts.append("<h3>By false-match rate</h3>")
    parts.append(
        table(
            ("false-match rate", "cosine", "true-match rate"),
            ((f"{at.fmr:g}", _number(at.cosine), _percent(at.tar)) for at in found.operating_points),
        )
        if found.operating_points
        else "<p>There are too few pairs for any.</p>"
    )
    marks = [(at.measured.cosine, f"Similarity {at.similarity:g}") for at in found.promises]
    parts.append("<h3>Errors against each other (DET)</h3>")
    promised = [(at.promised_fmr, f"promised at {at.similarity:g}") for at in found.promises]
    parts.append(det_chart(found.spread.det, promised))
    parts.append("<h3>Scores</h3>")
    parts.append(histogram_chart(found.spread.histogram, marks))
    if found.groups:
        parts.append(_groups(found))
    return "\n".join(parts)


_PROMISE_HEAD = (
    "Similarity", "cosine", "promised false-match rate", "measured false-match rate", "false matches",
    "true-match rate",
)  # fmt: skip


def _promise(at: Promise) -> tuple[str, ...]:
    found = at.measured
    return (
        f"{at.similarity:g}",
        f"{found.cosine:.4f}",
        f"{at.promised_fmr:g}",
        _rate(found.fmr),
        str(found.false_matches),
        "no pairs" if found.tar is None else _percent(found.tar),
    )


def _groups(found: Recognition) -> str:
    rows = []
    for group in found.groups:
        pairs = f"{group.impostor_pairs} + {group.genuine_pairs}"
        counts = (group.name, str(group.people), str(group.photos), pairs)
        rows += [counts + _promise(at) for at in group.promises]
    head = ("group", "people", "photos", "pairs: different + same people", *_PROMISE_HEAD)
    return (
        "<h3>By group</h3><p>Within a group people are compared with each other only, usually harder than "
        f"all people together. {found.people_without_group} people have no group.</p>" + table(head, rows)
    )


def _pairs(found: PairsOverHttp) -> str:
    return (
        f"<h2>Pairs through the service</h2><p>CompareFaces over HTTP on {found.pairs} pairs, ten folds: "
        f"{_percent(found.accuracy)} right. {found.without_face} pairs have a photo without a face, "
        "or one that the service refuses, and count as different people.</p>"
    )


def _detection(found: Detection) -> str:
    recalls = (
        (f"{at.from_px} to {at.to_px} px" if at.to_px < 10_000 else f"{at.from_px} px and more",
         str(at.faces), f"{100 * at.share:.1f} %")
        for at in found.report.recalls
    )  # fmt: skip
    against = (
        (
            contender.name,
            f"{contender.ms:.1f}",
            str(point.allowed),
            *(f"{100 * recall.share:.1f} %" for recall in point.recalls),
        )
        for contender in found.contenders
        for point in contender.points
    )
    return (
        f"<h2>Detection</h2><p>{found.photos} photos, sizes as in a photo of 1920 px; "
        f"{found.report.false_positives} detections touch no annotated face.</p>"
        + table(("size of the face", "faces", "found"), recalls)
        + table(
            ("detector", "ms a photo, one thread", "false positives in all", "20 px and more", "40", "80"),
            against,
        )
    )


def _worst(worst: Worst) -> str:
    head = ("photos", "cosine", "Similarity", "")
    return (
        "<h2>The worst pairs</h2><p>Look for wrong labels first: one of them can set the rate.</p>"
        "<h3>Different people, most alike</h3>"
        + table(head, (_worst_row(pair) for pair in worst.different))
        + "<h3>The same person, least alike</h3>"
        + table(head, (_worst_row(pair) for pair in worst.same))
    )


def _worst_row(pair: WorstPair) -> tuple[str, ...]:
    pictures = "".join(f'<img src="{escape(uri)}" alt="">' for uri in pair.pictures)
    names = Markup(f"{escape(pair.one)}<br>{escape(pair.other)}")
    return names, f"{pair.cosine:.4f}", f"{pair.similarity:.1f}", Markup(pictures)


def _names(title: str, names: tuple[str, ...]) -> str:
    return f"<h2>{escape(title)}</h2>{listing(names)}" if names else ""


def _percent(share: Interval) -> str:
    return f"{100 * share.value:.2f} % ({100 * share.low:.2f}-{100 * share.high:.2f})"


def _number(figure: Interval) -> str:
    return f"{figure.value:.4f} ({figure.low:.4f}-{figure.high:.4f})"


def _rate(rate: Interval) -> str:
    return f"{rate.value:.2g} ({rate.low:.2g}-{rate.high:.2g})"
