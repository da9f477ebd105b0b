"""What the README says: its commands are run, and print what it shows."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.measure.service import running
from tests.documents import ROOT, assert_alike, blocks, run, steps

README = ROOT / "README.md"
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A service without data, as a reader has it."""
    with running(WORKERS="1") as service:
        yield service.url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `.venv` is the environment of the tests."""
    path = tmp_path_factory.mktemp("readme")
    (path / ".venv").symlink_to(sys.prefix)
    (path / "app").symlink_to(ROOT / "app")
    return path


def test_console_blocks_print_what_the_readme_shows(url: str, folder: Path) -> None:
    assert len(steps(README)) >= 8
    for command, shown in steps(README):
        printed = run(["bash", "-c", command.replace(ADDRESS, url)], folder)
        assert_alike(printed.replace(url, ADDRESS), shown)


def test_python_block_prints_what_the_readme_shows(url: str, folder: Path) -> None:
    (program,), (shown,) = blocks(README, "python"), blocks(README, "text")
    assert_alike(run([sys.executable, "-c", program.replace(ADDRESS, url)], folder), shown)


def test_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b", README.read_text())) <= targets


def test_links_lead_to_files() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
