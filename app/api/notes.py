"""What the line of a request is told beside what it sees itself."""

from starlette.types import Scope


def note(scope: Scope, **facts: str) -> None:
    """Tell the line of a request more: the operation of the Rekognition door, the code of an error."""
    scope.setdefault("state", {}).update(facts)
