"""Documents whose commands are run and must print what they show."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
_NUMBER = re.compile(r"-?\d+\.\d+")


def blocks(document: Path, kind: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{kind}\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


def steps(document: Path) -> list[tuple[str, str]]:
    """Commands of the console blocks, in order, with what each prints."""
    found = []
    for block in blocks(document, "console"):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            found.append((command, output))
    return found


def run(command: list[str], folder: Path, variables: Mapping[str, str] | None = None) -> str:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, env=variables, timeout=60
    ).stdout


def assert_alike(printed: str, shown: str) -> None:
    """Equal but for ids, times and tokens, and for the last digits of scores."""
    for pattern, name in ((_UUID, "<id>"), (_TIME, "<time>"), (_TOKEN, "<token>")):
        printed, shown = pattern.sub(name, printed), pattern.sub(name, shown)
    printed, shown = printed.strip(), shown.strip()
    assert _NUMBER.sub("<number>", printed) == _NUMBER.sub("<number>", shown)
    numbers = [float(number) for number in _NUMBER.findall(printed)]
    assert numbers == pytest.approx([float(number) for number in _NUMBER.findall(shown)], abs=0.5)
