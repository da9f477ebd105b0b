"""The networks that a pack's files are."""

from pathlib import Path

from app.engine.embedder import Embedder
from app.engine.look import Network
from app.engine.model import RAW, Scaling
from app.engine.packs import Family, Pack
from app.engine.runtime import ONNX_RUNTIME, Runtime
from app.engine.scrfd import Scrfd
from app.engine.yunet import Yunet

ARCFACE = Scaling(127.5, 127.5)


def open_detector(pack: Pack, folder: Path, runtime: Runtime = ONNX_RUNTIME) -> Network:
    """What finds faces."""
    path = folder / pack.detector.name
    return Yunet(path, runtime) if pack.family is Family.OPENCV else Scrfd(path, runtime)


def open_embedder(pack: Pack, folder: Path, runtime: Runtime = ONNX_RUNTIME) -> Embedder:
    """What makes vectors of them."""
    scaling = RAW if pack.family is Family.OPENCV else ARCFACE
    session = runtime.open_of_one_size(folder / pack.recogniser.name)
    return Embedder(session, pack.vector_size, scaling)
