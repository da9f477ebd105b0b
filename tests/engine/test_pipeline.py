"""When a pipeline opens its networks."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.domain import Embed
from app.engine import networks, packs
from app.engine.embedder import Embedder
from app.engine.pipeline import Pipeline
from app.engine.runtime import Runtime
from app.measure.engine import analyse
from app.metrics import Metrics
from app.resources import _fingerprint
from app.settings import Settings
from tests import photos


def test_networks_are_opened_once_and_only_when_a_picture_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def opening(pack: packs.Pack, folder: Path, runtime: Runtime) -> Embedder:
        opened.append(pack.name)
        return networks.open_embedder(pack, folder, runtime)

    monkeypatch.setattr("app.engine.pipeline.open_embedder", opening)
    lazy = Pipeline(*packs.require("mobile", Path("unused")), None, Metrics())
    assert not opened
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: analyse(lazy, photos.group(), Embed.NONE), range(3)))
    assert [len(faces) for faces in found] == [6, 6, 6]
    lazy.open()
    assert opened == ["mobile"]


@pytest.mark.parametrize("name", ["mobile", "opencv"])
def test_the_least_score_is_known_before(name: str) -> None:
    """Photos of another are indexed anew, so a worker has to say which is its own."""
    pack = packs.PACKS[name]
    assert Pipeline(pack, Path("unused"), 0.42, Metrics()).min_score == 0.42
    least = {"mobile": 0.5, "opencv": 0.7}[name]
    assert Pipeline(pack, Path("unused"), None, Metrics()).min_score == least


def test_another_least_size_has_albums_indexed_anew() -> None:
    pipeline = Pipeline(packs.PACKS["mobile"], Path("unused"), None, Metrics())
    prints = {_fingerprint(Settings(min_face_size=size), pipeline) for size in (0, 36, 40)}
    assert len(prints) == 3
