"""Who asks, and what a handler may use."""

from fastapi import Request

from app.domain import Caller
from app.resources import Resources


def resources_of(request: Request) -> Resources:
    """What `create_app` opened."""
    resources: Resources = request.app.state.resources
    return resources


def caller_of(request: Request) -> Caller:
    """The account that a request acts for: signatures are not checked yet, so it is the configured one."""
    return Caller(resources_of(request).settings.account_id)
