"""A PostgreSQL of a module's own, and an empty database in it for each test."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from app.store.embedded import EmbeddedPostgres
from tests.store.databases import execute


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    yield postgres.start()
    postgres.stop()


@pytest.fixture
def url(server: str) -> Iterator[str]:
    """The address of a database without tables."""
    name = f"test_{uuid4().hex}"
    execute(server, f'CREATE DATABASE "{name}"')
    yield server.replace("/postgres?", f"/{name}?")
    execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')
