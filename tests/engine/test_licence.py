"""ACCEPT_MODEL_LICENSE: a missing pack is downloaded at the start, once, by whoever comes first."""

import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from app.engine.accepted import obtain
from app.engine.installer import LOCK_NAME, InstallError, install_if_missing
from app.engine.packs import PACKS, PackNotInstalledError
from app.settings import Settings
from tests.engine.releases import DETECTOR, RECOGNISER, tiny_archive, tiny_loose_pack, tiny_pack
from tests.loopback import Handler, Site, serving

_PATIENCE_S = 240.0


class _HeldSite(Site):
    """Answers when it is let."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.let = Event()


class _Held(Handler):
    def respond(self, site: Site) -> None:
        assert isinstance(site, _HeldSite)
        site.let.wait(_PATIENCE_S)
        super().respond(site)


@pytest.fixture
def releases() -> Iterator[Site]:
    with serving() as site:
        yield site


def settings(models_dir: Path, url: str, *, accepted: bool) -> Settings:
    return Settings(
        _env_file=None,  # type: ignore[call-arg]  # pydantic-settings' own
        model_pack="buffalo_s",
        models_dir=models_dir,
        model_url=url,
        accept_model_license=accepted,
    )


def install_and_tell(models: Path, url: str, said: "Queue[str]") -> None:
    """What a process does that starts."""
    said.put(f"in {install_if_missing(tiny_pack(), models, url, progress=said.put)}")


def test_processes_that_start_at_once_download_once(tmp_path: Path) -> None:
    processes = get_context("spawn")
    said: Queue[str] = processes.Queue()
    with serving(handler=_Held, site=_HeldSite) as site:
        assert isinstance(site, _HeldSite)
        site.files["/tiny.zip"] = tiny_archive()
        starts = [
            processes.Process(target=install_and_tell, args=(tmp_path, site.url, said)) for _ in range(2)
        ]
        for start in starts:
            start.start()
        assert "another process installs" in said.get(timeout=_PATIENCE_S)  # one has the lock, one waits
        site.let.set()
        for start in starts:
            start.join(_PATIENCE_S)
        assert [start.exitcode for start in starts] == [0, 0]
        assert site.visits == ["/tiny.zip"]
    rest = [said.get(timeout=_PATIENCE_S) for _ in range(5)]
    assert rest.count(f"in {tmp_path / 'tiny'}") == 2
    assert {path.name for path in tmp_path.iterdir()} == {LOCK_NAME, "tiny"}


def test_an_accepted_licence_installs_the_missing_pack(
    releases: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(PACKS, "buffalo_s", tiny_pack())  # one that a test can publish
    releases.files["/tiny.zip"] = tiny_archive()
    with caplog.at_level("INFO", logger="app"):
        pack, folder = obtain(settings(tmp_path, releases.url, accepted=True))
    assert (pack.name, folder) == ("tiny", tmp_path / "tiny")
    assert f"accepts the licence of buffalo_s: {pack.licence}" in caplog.text
    assert f"downloading {releases.url}/tiny.zip" in caplog.text
    obtain(settings(tmp_path, releases.url, accepted=True))
    assert releases.visits == ["/tiny.zip"]


def test_without_the_licence_nothing_is_downloaded_and_both_ways_are_named(
    releases: Site, tmp_path: Path
) -> None:
    with pytest.raises(PackNotInstalledError) as refused:
        obtain(settings(tmp_path, releases.url, accepted=False))
    says = str(refused.value)
    assert "python -m app models install buffalo_s --accept-license" in says
    assert "ACCEPT_MODEL_LICENSE=true" in says
    assert PACKS["buffalo_s"].licence in says
    assert releases.visits == []
    assert list(tmp_path.iterdir()) == []


def test_a_permissive_pack_is_downloaded_without_acceptance(
    releases: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(PACKS, "buffalo_s", tiny_loose_pack())
    releases.files |= {"/finders/d.onnx": DETECTOR, "/knowers/r.onnx": RECOGNISER}
    with caplog.at_level("INFO", logger="app"):
        pack, folder = obtain(settings(tmp_path, releases.url, accepted=False))
    assert (pack.name, folder) == ("loose", tmp_path / "loose")
    assert "the licence of buffalo_s: YuNet: MIT" in caplog.text


def test_what_a_killed_install_left_is_removed(releases: Site, tmp_path: Path) -> None:
    releases.files["/tiny.zip"] = tiny_archive()
    (tmp_path / ".tiny-left").mkdir()
    (tmp_path / ".tiny-left" / "archive.zip").write_bytes(b"half")
    install_if_missing(tiny_pack(), tmp_path, releases.url, progress=lambda _: None)
    assert {path.name for path in tmp_path.iterdir()} == {LOCK_NAME, "tiny"}


def test_a_models_folder_that_cannot_be_written_is_an_error_that_says_so(releases: Site) -> None:
    # /proc: there not even root can write
    with pytest.raises(InstallError, match="/proc can't be written"):
        install_if_missing(tiny_pack(), Path("/proc"), releases.url, progress=lambda _: None)
    assert releases.visits == []


def test_credentials_of_the_address_are_not_told(tmp_path: Path) -> None:
    with pytest.raises(InstallError) as failed:
        install_if_missing(tiny_pack(), tmp_path, "http://me:secret@127.0.0.1:1", progress=lambda _: None)
    assert "http://127.0.0.1:1/tiny.zip could not be downloaded" in str(failed.value)


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_download_that_fails_stops_the_start_before_the_database(
    releases: Site, tmp_path: Path, command: str
) -> None:
    releases.files["/buffalo_s.zip"] = b"no zip"
    done = subprocess.run(
        [sys.executable, "-m", "app", command],
        capture_output=True, text=True, check=False, timeout=_PATIENCE_S,
        env={
            "PATH": "", "DATA_DIR": str(tmp_path), "MODEL_PACK": "buffalo_s", "ACCEPT_MODEL_LICENSE": "true",
            "MODEL_URL": releases.url,
        },
    )  # fmt: skip
    assert done.returncode == 1
    assert "model pack buffalo_s was not installed: the download is not a usable zip" in done.stderr
    assert releases.visits == ["/buffalo_s.zip"]
    assert not (tmp_path / "postgres").exists()
