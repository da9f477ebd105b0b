"""An error in the vocabulary of the door that was knocked at, for those who refuse before a door opens."""

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from app.api import problems
from app.api.aws import errors
from app.api.notes import note
from app.errors import ServiceError


def of(scope: Scope, error: ServiceError) -> Response:
    """The answer to a request that no handler sees."""
    note(scope, code=error.code)
    if "x-amz-target" in Headers(scope=scope):
        note(scope, operation="unknown")  # counts at this door
        return errors.response(error)
    return problems.response(error)
