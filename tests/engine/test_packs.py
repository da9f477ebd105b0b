"""Model packs: the installed one is whole, the others are downloaded from a loopback server."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.engine.installer import LOCK_NAME, InstallError, install
from app.engine.packs import PACKS, PackNotInstalledError, problems_of, require
from tests import opencv_pack
from tests.engine.releases import DETECTOR, RECOGNISER, archive, digest, tiny_loose_pack, tiny_pack
from tests.loopback import Handler, Site, serving


class _Releases(Handler):
    """Files, and /moved/... redirects to them."""

    def respond(self, site: Site) -> None:
        if self.path.startswith("/moved/"):
            self.answer(302, b"", location=self.path.removeprefix("/moved"))
        else:
            super().respond(site)


@pytest.fixture
def releases() -> Iterator[Site]:
    with serving(handler=_Releases) as site:
        yield site


def test_default_pack_is_whole() -> None:
    pack, folder = require("mobile", Path("nowhere"))
    assert problems_of(pack, folder) == []


def test_a_pack_is_downloaded_checked_and_unpacked(releases: Site, tmp_path: Path) -> None:
    data = archive(tiny__d__onnx=b"", **{"tiny/d.onnx": DETECTOR, "tiny/r.onnx": RECOGNISER, "x.onnx": b"x"})
    releases.files["/tiny.zip"] = data
    said: list[str] = []
    folder = install(tiny_pack(digest(data)), tmp_path, f"{releases.url}/moved", progress=said.append)
    assert sorted(path.name for path in folder.iterdir()) == ["d.onnx", "installed.json", "r.onnx", "x.onnx"]
    assert (folder / "r.onnx").read_bytes() == RECOGNISER
    assert any("no published hash of x.onnx is known" in line for line in said)
    assert digest(b"x") in (folder / "installed.json").read_text()
    # and once more over the installed one
    install(tiny_pack(digest(data)), tmp_path, releases.url, progress=said.append)
    assert {path.name for path in tmp_path.iterdir()} == {LOCK_NAME, "tiny"}


@pytest.mark.parametrize(
    ("data", "archive_sha256", "reason"),
    [
        (archive(**{"d.onnx": DETECTOR, "r.onnx": RECOGNISER, "x.onnx": b"x"}), "0" * 64, "has sha256"),
        (archive(**{"d.onnx": DETECTOR, "r.onnx": b"other", "x.onnx": b"x"}), None, "r.onnx is not"),
        (archive(**{"d.onnx": DETECTOR, "x.onnx": b"x"}), None, "holds no r.onnx"),
        (b"<html>not found</html>", None, "not a usable zip"),
        (None, None, "answered 404"),
    ],
    ids=["wrong archive", "wrong file", "missing file", "no zip", "no such release"],
)
def test_a_bad_download_changes_nothing(
    releases: Site, tmp_path: Path, data: bytes | None, archive_sha256: str | None, reason: str
) -> None:
    installed = tmp_path / "tiny"
    installed.mkdir()
    (installed / "d.onnx").write_bytes(b"old")
    if data is not None:
        releases.files["/tiny.zip"] = data
    with pytest.raises(InstallError, match=reason):
        install(tiny_pack(archive_sha256), tmp_path, releases.url, progress=lambda _: None)
    assert {path.name for path in tmp_path.iterdir()} == {LOCK_NAME, "tiny"}
    assert (installed / "d.onnx").read_bytes() == b"old"


def test_a_pack_of_loose_files_is_downloaded_from_its_makers_or_a_mirror(
    releases: Site, tmp_path: Path
) -> None:
    releases.files |= {"/finders/d.onnx": DETECTOR, "/knowers/r.onnx": RECOGNISER}
    makers = replace(tiny_loose_pack(), published_at=f"{releases.url}/moved")
    for mirror in (None, f"{releases.url}/"):
        folder = install(makers, tmp_path, mirror, progress=lambda _: None)
        assert {path.name for path in folder.iterdir()} == {"d.onnx", "installed.json", "r.onnx"}
        assert (folder / "r.onnx").read_bytes() == RECOGNISER
    files = ["/finders/d.onnx", "/knowers/r.onnx"]
    redirected = [path for file in files for path in (f"/moved{file}", file)]
    assert releases.visits == redirected + files
    releases.files["/knowers/r.onnx"] = b"other"
    with pytest.raises(InstallError, match="is not the published file"):
        install(makers, tmp_path, releases.url, progress=lambda _: None)
    assert (folder / "r.onnx").read_bytes() == RECOGNISER


def test_every_pack_is_published_as_one_archive_or_file_by_file() -> None:
    for pack in PACKS.values():
        assert len({file.published_in is None for file in pack.files}) == 1, pack.name
        if pack.files[0].published_in is not None:
            assert all(file.sha256 for file in pack.files), pack.name


def test_names_in_an_archive_are_no_paths(releases: Site, tmp_path: Path) -> None:
    models = tmp_path / "models"
    data = archive(**{"../../d.onnx": DETECTOR, "/etc/r.onnx": RECOGNISER, "x.onnx": b"x", "../evil": b"e"})
    releases.files["/tiny.zip"] = data
    install(tiny_pack(), models, releases.url, progress=lambda _: None)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    expected = {f"models/tiny/{name}" for name in ("d.onnx", "installed.json", "r.onnx", "x.onnx")}
    assert written == expected | {f"models/{LOCK_NAME}"}


def test_a_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="could not be downloaded"):
        install(tiny_pack(), tmp_path, "http://127.0.0.1:1", progress=lambda _: None)


def test_a_missing_pack_names_the_command_that_installs_it(tmp_path: Path) -> None:
    with pytest.raises(PackNotInstalledError, match="models install buffalo_l --accept-license"):
        require("buffalo_l", tmp_path)


def test_packs_with_one_recogniser_share_their_face_model_version() -> None:
    versions: dict[str | None, set[str]] = {}
    for pack in PACKS.values():
        versions.setdefault(pack.recogniser.sha256, set()).add(pack.face_model_version)
        assert set(pack.face_model_version) <= set("0123456789.")
    assert all(len(found) == 1 for found in versions.values())
    assert len(set.union(*versions.values())) == len(versions)


def run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "app", "models", *arguments],
        capture_output=True, text=True, check=False, env={"PATH": "", **settings},
    )  # fmt: skip


def test_models_command_lists_verifies_and_asks_for_the_licence(tmp_path: Path) -> None:
    listed = run("list")
    assert listed.returncode == 0
    assert "mobile (MODEL_PACK): installed" in listed.stdout
    assert "buffalo_l: not installed" in listed.stdout
    assert "non-commercial research" in listed.stdout
    assert run("verify").stdout == "mobile: all files are as published\n"
    missing = run("verify", "antelopev2", DATA_DIR=str(tmp_path))
    assert missing.returncode == 1
    assert "glintr100.onnx is missing" in missing.stdout
    unaccepted = run("install", "buffalo_l", DATA_DIR=str(tmp_path))
    assert unaccepted.returncode == 1
    assert "--accept-license" in unaccepted.stderr
    assert list(tmp_path.iterdir()) == []
    assert run("install", "buffalo_xxl").returncode == 1


def test_a_permissive_pack_is_installed_without_a_question_and_shows_its_licence(
    releases: Site, tmp_path: Path
) -> None:
    releases.files["/face_detection_yunet/face_detection_yunet_2023mar.onnx"] = (
        opencv_pack.yunet().read_bytes()
    )
    done = run("install", "opencv", DATA_DIR=str(tmp_path), MODEL_URL=releases.url)
    assert "YuNet: MIT" in done.stdout
    assert "SFace: Apache-2.0" in done.stdout
    assert done.returncode == 1
    sface = "/face_recognition_sface/face_recognition_sface_2021dec.onnx"
    assert f"opencv was not installed: {releases.url}{sface} answered 404" in done.stderr
    assert not (tmp_path / "models" / "opencv").exists()


def test_models_command_installs_from_another_address(releases: Site, tmp_path: Path) -> None:
    releases.files["/buffalo_s.zip"] = b"no zip"
    done = run("install", "buffalo_s", "--accept-license", DATA_DIR=str(tmp_path), MODEL_URL=releases.url)
    assert done.returncode == 1
    assert "buffalo_s was not installed: the download is not a usable zip archive" in done.stderr
