"""Pictures in, a network's outputs out, whatever it runs in."""

from collections.abc import Sequence

from app.domain import Floats, Pixels
from app.engine.runtime import Session
from app.engine.scaling import Blob, Size


class Model:
    """Runs a network on pictures. Safe to call from several threads."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.side = session.side
        """Of the square that it sees, in pixels; 0 when it takes any."""

    def canvas(self, size: Size) -> Size:
        """The size of the canvas that a picture of some size had best lie on; no smaller."""
        return self._session.canvas(size)

    def run(self, picture: Pixels) -> list[Floats]:
        """All outputs for a picture, shape (height, width, 3), BGR."""
        return self.infer(self._session.blob([picture]))

    def run_all(self, pictures: Sequence[Pixels]) -> list[Floats]:
        """The first output for each of several pictures of one size."""
        found: list[Floats] = []
        while left := pictures[len(found) :]:
            together = left[: self._session.together(len(left))]
            found.extend(self.infer(self._session.blob(together))[0])
        return found

    def infer(self, blob: Blob) -> list[Floats]:
        """All outputs for what the session itself takes."""
        return self._session.run(blob)
