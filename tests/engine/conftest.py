"""The engine, once for all tests of its parts."""

from collections.abc import Iterator

import pytest

from app.measure.engine import LocalEngine
from app.settings import Settings
from tests import opencv_pack


@pytest.fixture(scope="package")
def engine() -> Iterator[LocalEngine]:
    opened = LocalEngine(Settings(_env_file=None))  # type: ignore[call-arg]  # pydantic-settings' own
    yield opened
    opened.close()


@pytest.fixture(scope="package", params=["mobile", "opencv"])
def each_engine(
    request: pytest.FixtureRequest, engine: LocalEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalEngine]:
    """The engine with networks of each family in turn."""
    if request.param == "mobile":
        yield engine
        return
    models = tmp_path_factory.mktemp("models")
    opencv_pack.models(models)
    opened = LocalEngine(
        Settings(_env_file=None, model_pack="opencv", models_dir=models)  # type: ignore[call-arg]  # pydantic-settings' own
    )
    yield opened
    opened.close()
