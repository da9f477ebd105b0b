"""The networks that a pack's files are."""

from pathlib import Path

from app.engine.embedder import Embedder
from app.engine.look import Network
from app.engine.model import RAW, Scaling
from app.engine.packs import Family, Pack
from app.engine.scrfd import Scrfd
from app.engine.yunet import Yunet

_ARCFACE = Scaling(127.5, 127.5)


def open_detector(pack: Pack, folder: Path) -> Network:
    """What finds faces."""
    path = folder / pack.detector.name
    return Yunet(path) if pack.family is Family.OPENCV else Scrfd(path)


def open_embedder(pack: Pack, folder: Path) -> Embedder:
    """What makes vectors of them."""
    scaling = RAW if pack.family is Family.OPENCV else _ARCFACE
    return Embedder(folder / pack.recogniser.name, pack.vector_size, scaling)
