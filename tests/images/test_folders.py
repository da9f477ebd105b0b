"""Photos in folders: what FOLDERS_ALLOWED lets whom read, whatever paths and links are tried."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from app.domain import FolderImage, ListedObject
from app.errors import (
    ImageTooLargeException,
    InvalidFolderObjectException,
    PhotoNotFound,
    StorageUnavailableError,
)
from app.images import folders
from app.images.folders import FolderReader
from app.images.places import AllowedFolders
from app.settings import Settings

T = TypeVar("T")
ACCOUNT = "000000000000"
OTHER = "123456789012"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of photos, and one beside it whose name begins alike."""
    for name in (
        "photos/a.jpg",
        "photos/b/c.jpg",
        "photos/b.jpg",
        "photos/b/.hidden",
        "photos-private/x.jpg",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path / "photos"


def use(work: Callable[[FolderReader], Awaitable[T]], *allowed: str | Path) -> T:
    """What a reader of its own makes of some rules."""
    rules = ",".join(map(str, allowed))
    reader = FolderReader(Settings(_env_file=None, folders_allowed=rules))  # type: ignore[call-arg,arg-type]

    async def run() -> T:
        return await work(reader)

    try:
        return asyncio.run(run())
    finally:
        reader.close()


def fetch(path: str | Path, *allowed: str | Path, account_id: str = ACCOUNT) -> bytes:
    return use(lambda reader: reader.fetch(FolderImage(account_id, str(path)), 1000), *allowed)


def listed(prefix: str | Path, *allowed: str | Path, account_id: str = ACCOUNT) -> list[ListedObject]:
    async def work(reader: FolderReader) -> list[ListedObject]:
        return [found async for found in reader.entries(FolderImage(account_id, str(prefix)))]

    return use(work, *allowed)


def paths(prefix: str | Path, *allowed: str | Path) -> list[str]:
    return [found.source.path for found in listed(prefix, *allowed) if isinstance(found.source, FolderImage)]


def test_a_rule_allows_its_folder_and_all_below_to_its_account(root: Path) -> None:
    assert fetch(root / "a.jpg", root) == b"photos/a.jpg"
    assert fetch(root / "b/c.jpg", f"{root}/") == b"photos/b/c.jpg"
    assert fetch(root / "b/c.jpg", f"{OTHER}:{root}", account_id=OTHER) == b"photos/b/c.jpg"
    for rules in ([], [f"{OTHER}:{root}"], [root / "b"], [f"{root}-private"], [str(root)[:-1]]):
        with pytest.raises(InvalidFolderObjectException):
            fetch(root / "a.jpg", *rules)
    assert AllowedFolders(["/"], ACCOUNT).allow(ACCOUNT, "/etc/hostname")


@pytest.mark.parametrize(
    "tail",
    [
        "-private/x.jpg", "/../photos-private/x.jpg", "/./a.jpg", "//a.jpg", "/b/../a.jpg", "/a.jpg/", "/b",
        "", "/", "/a.jpg\0", "/a.jpg\ud800", "/" + "n" * 300, "/missing.jpg", "/a.jpg/b", "/..", "/b/..",
    ],
)  # fmt: skip
def test_hostile_paths_are_refused_alike(root: Path, tail: str) -> None:
    with pytest.raises(InvalidFolderObjectException) as refusal:
        fetch(f"{root}{tail}", root)
    assert str(refusal.value) == InvalidFolderObjectException.default_message


@pytest.mark.parametrize("path", ["photos/a.jpg", "", "~/a.jpg", "file:///etc/passwd", "/proc/self/environ"])
def test_paths_elsewhere_are_refused(root: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    with pytest.raises(InvalidFolderObjectException):
        fetch(path, root)


def test_links_are_followed_inside_and_not_out(root: Path) -> None:
    private = root.parent / "photos-private"
    (root / "inside.jpg").symlink_to(root / "b/c.jpg")
    (root / "out.jpg").symlink_to(private / "x.jpg")
    (root / "up.jpg").symlink_to("../photos-private/x.jpg")
    (root / "folder-out").symlink_to(private)
    (root / "folder-in").symlink_to(root / "b")
    (root / "circle").symlink_to(root)
    (root / "itself.jpg").symlink_to(root / "itself.jpg")
    (root / "nowhere.jpg").symlink_to(root / "nothing.jpg")
    assert fetch(root / "inside.jpg", root) == b"photos/b/c.jpg"
    assert fetch(root / "folder-in/c.jpg", root) == b"photos/b/c.jpg"
    for name in ("out.jpg", "up.jpg", "folder-out/x.jpg", "itself.jpg", "nowhere.jpg", "circle"):
        with pytest.raises(InvalidFolderObjectException):
            fetch(root / name, root)
    for name in ("out.jpg", "folder-out/x.jpg", "folder-out/missing.jpg"):  # not even whether it is there
        image = FolderImage(ACCOUNT, f"{root}/{name}")
        with pytest.raises(InvalidFolderObjectException):
            use(lambda reader, image=image: reader.fetch_unless(image, 1000, None), root)  # type: ignore[misc]
    found = paths(f"{root}/", root)
    assert found == [f"{root}/{name}" for name in ("a.jpg", "b.jpg", "b/.hidden", "b/c.jpg", "inside.jpg")]
    with pytest.raises(InvalidFolderObjectException):
        paths(root / "folder-out/", root)
    with pytest.raises(InvalidFolderObjectException):
        paths(f"{root}/folder-out", root)
    # A rule may itself be a link, as to another disk.
    (root.parent / "disk").symlink_to(root)
    assert fetch(root.parent / "disk/a.jpg", root.parent / "disk") == b"photos/a.jpg"


def test_a_link_that_is_put_in_a_files_way_is_not_followed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.path.realpath

    def then_swap(path: str) -> str:
        found = real(path)
        if path.endswith("b/c.jpg") and not (root / "b").is_symlink():
            (root / "b").rename(root / "old")
            (root / "b").symlink_to(root.parent / "photos-private")
            (root.parent / "photos-private/c.jpg").write_text("secret")
        return found

    monkeypatch.setattr(os.path, "realpath", then_swap)
    with pytest.raises(InvalidFolderObjectException):
        fetch(root / "b/c.jpg", root)
    assert (root / "b").is_symlink()


def test_only_regular_files_are_read(root: Path) -> None:
    os.mkfifo(root / "pipe.jpg")
    (root / "zero.jpg").symlink_to("/dev/zero")
    for path in (root / "pipe.jpg", root / "zero.jpg", root / "b", "/dev/zero"):
        with pytest.raises(InvalidFolderObjectException):
            fetch(path, root, "/dev")
    assert not [path for path in paths(root, root, "/dev") if "pipe" in path or "zero" in path]


def test_a_file_is_fetched_again_only_after_a_change(root: Path) -> None:
    image = FolderImage(ACCOUNT, str(root / "a.jpg"))

    async def work(reader: FolderReader) -> None:
        found = await reader.fetch_unless(image, 1000, None)
        assert found is not None
        assert found.data == b"photos/a.jpg"
        assert found.version == f"{(root / 'a.jpg').stat().st_mtime_ns}-{len(found.data)}"
        assert await reader.fetch_unless(image, 1000, found.version) is None
        (root / "a.jpg").write_bytes(b"changed, and longer")
        changed = await reader.fetch_unless(image, 1000, found.version)
        assert changed is not None
        assert changed.data == b"changed, and longer"
        assert [entry.version async for entry in reader.entries(image)] == [changed.version]
        with pytest.raises(ImageTooLargeException):
            await reader.fetch_unless(image, 10, None)
        (root / "a.jpg").unlink()
        with pytest.raises(PhotoNotFound):
            await reader.fetch_unless(image, 1000, None)
        (root / "b/c.jpg").unlink()
        (root / "b/.hidden").unlink()
        (root / "b").rmdir()
        with pytest.raises(PhotoNotFound):
            await reader.fetch_unless(FolderImage(ACCOUNT, str(root / "b/c.jpg")), 1000, None)

    use(work, root)


def test_a_prefix_is_a_folder_or_the_beginning_of_paths(root: Path) -> None:
    everything = [f"{root}/{name}" for name in ("a.jpg", "b.jpg", "b/.hidden", "b/c.jpg")]
    assert paths(root, root) == paths(f"{root}/", root) == everything
    assert paths(root / "b", root) == paths(f"{root}/b/", root) == everything[2:]
    assert paths(root / "b.", root) == [f"{root}/b.jpg"]
    assert paths(root / "none", root) == paths(root / "none/x", root) == paths(f"{root}/none/", root) == []
    (root / "b1").mkdir()
    (root / "b1/d.jpg").touch()
    (root / "b").rename(root / "b2")
    assert paths(root / "b", root) == [
        f"{root}/{name}" for name in ("b.jpg", "b1/d.jpg", "b2/.hidden", "b2/c.jpg")
    ]
    for prefix in (root.parent, f"{root}-", f"{root}/../photos-private", str(root)[:-1], "/", "b"):
        with pytest.raises(InvalidFolderObjectException):
            paths(prefix, root)


def test_listings_are_sorted_as_paths_are_and_have_many_files(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_PAGE", 50)
    for number in range(230):
        (root / f"b/{number}.jpg").touch()
        (root / f"b/d{number % 7}").mkdir(exist_ok=True)
        (root / f"b/d{number % 7}/{number}").touch()
    (root / "b/d1.jpg").touch()
    (root / "b" / os.fsdecode(b"\xff.jpg")).touch()  # no UTF-8
    found = paths(root, root)
    assert found == sorted(found)
    assert len(found) == len(set(found)) == 4 + 460 + 1


def test_an_allowed_folder_that_is_not_there_has_lost_nothing(root: Path) -> None:
    gone = root.parent / "unmounted"
    with pytest.raises(StorageUnavailableError):
        fetch(gone / "a.jpg", gone)
    with pytest.raises(StorageUnavailableError):
        paths(gone, gone)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_ends_a_listing(root: Path) -> None:
    (root / "b").chmod(0)
    try:
        with pytest.raises(InvalidFolderObjectException):
            paths(root, root)
        with pytest.raises(InvalidFolderObjectException):
            fetch(root / "b/c.jpg", root)
    finally:
        (root / "b").chmod(0o700)
