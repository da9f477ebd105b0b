"""`python -m app bench` where there is nothing to measure with, or on."""

from pathlib import Path

import pytest

from app.measure.bench import bench


@pytest.mark.parametrize(
    ("settings", "folder", "says"),
    [
        ({}, "nowhere", "there are no photos in"),
        ({"MODEL_PACK": "buffalo_l"}, None, "python -m app models install buffalo_l"),
        ({"RUNTIME": "cuda"}, None, "RUNTIME=cuda needs onnxruntime-gpu"),
        ({"PORT": "none"}, None, "PORT"),
    ],
    ids=["no folder", "no pack", "no runtime", "a wrong setting"],
)
def test_says_in_a_line_why_it_cannot_measure(
    settings: dict[str, str],
    folder: str | None,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    assert bench(tmp_path / folder if folder else None, tmp_path / "bench.json") == 1
    said = capsys.readouterr().err
    assert said.startswith("svc-face-recon: ")
    assert says in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "bench.json").exists()
