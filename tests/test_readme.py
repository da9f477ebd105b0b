"""What the README says: its commands are run, and print what it shows."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.measure.service import running

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8000"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NUMBER = re.compile(r"-?\d+\.\d+")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def steps() -> list[tuple[str, str]]:
    """Commands of the console blocks, in order, with what each prints."""
    found = []
    for block in blocks("console"):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            found.append((command, output))
    return found


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A service without data, as a reader has it."""
    with running() as service:
        yield service.url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `.venv` is the environment of the tests."""
    path = tmp_path_factory.mktemp("readme")
    (path / ".venv").symlink_to(sys.prefix)
    (path / "app").symlink_to(ROOT / "app")
    return path


def run(command: list[str], folder: Path) -> str:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def assert_alike(printed: str, shown: str) -> None:
    """Equal but for ids, and for the last digits of scores."""
    printed, shown = (_UUID.sub("<id>", text).strip() for text in (printed, shown))
    assert _NUMBER.sub("<number>", printed) == _NUMBER.sub("<number>", shown)
    numbers = [float(number) for number in _NUMBER.findall(printed)]
    assert numbers == pytest.approx([float(number) for number in _NUMBER.findall(shown)], abs=0.5)


def test_console_blocks_print_what_the_readme_shows(url: str, folder: Path) -> None:
    assert len(steps()) >= 8
    for command, shown in steps():
        assert_alike(run(["bash", "-c", command.replace(ADDRESS, url)], folder), shown)


def test_python_block_prints_what_the_readme_shows(url: str, folder: Path) -> None:
    (program,), (shown,) = blocks("python"), blocks("text")
    assert_alike(run([sys.executable, "-c", program.replace(ADDRESS, url)], folder), shown)


def test_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b", README)) <= targets


def test_links_lead_to_files() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
