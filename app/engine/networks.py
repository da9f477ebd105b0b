"""The networks that a pack's files are."""

from pathlib import Path

from app.engine.embedder import Embedder
from app.engine.look import Network, Scores
from app.engine.packs import Family, Pack
from app.engine.runtime import ONNX_RUNTIME, Runtime
from app.engine.scaling import RAW, Scaling
from app.engine.scrfd import Scrfd
from app.engine.yunet import Yunet

ARCFACE = Scaling(127.5, 127.5)


def scores_of(pack: Pack) -> Scores:
    """What the scores of its detector mean."""
    return _detector_of(pack).scores


def open_detector(pack: Pack, folder: Path, runtime: Runtime = ONNX_RUNTIME) -> Network:
    """What finds faces."""
    return _detector_of(pack)(folder / pack.detector.name, runtime)


def open_embedder(pack: Pack, folder: Path, runtime: Runtime = ONNX_RUNTIME) -> Embedder:
    """What makes vectors of them."""
    scaling = RAW if pack.family is Family.OPENCV else ARCFACE
    session = runtime.open_of_one_size(folder / pack.recogniser.name, scaling, several=True)
    return Embedder(session, pack.vector_size)


def _detector_of(pack: Pack) -> type[Scrfd] | type[Yunet]:
    return Yunet if pack.family is Family.OPENCV else Scrfd
