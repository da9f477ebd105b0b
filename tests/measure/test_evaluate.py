"""`evaluate` on a user's own photos: the page, the figures in it, and what is said of bad input."""

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from app.measure.engine import LocalEngine
from app.measure.evaluate import Options, evaluate
from app.settings import Settings
from tests import photos
from tests.measure import own_photos

PHOTOS = Options(fit_curve=False, photos=True)
NO_PHOTOS = Options(fit_curve=False, photos=False)


class Measured(NamedTuple):
    folder: Path
    page: str
    figures: dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own")
    engine = LocalEngine(Settings(_env_file=None))  # type: ignore[call-arg]  # pydantic-settings' own
    own_photos.make(path, engine)
    engine.close()
    return path


@pytest.fixture(scope="module")
def measured(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    out = tmp_path_factory.mktemp("out") / "found.json"
    assert evaluate(folder, out, PHOTOS) == 0
    return Measured(folder, out.with_suffix(".html").read_text(), json.loads(out.read_text()))


class Cells(HTMLParser):
    """The text of every table's cells, row by row; and whatever the page loads or runs."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self._within = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._within = True

    def handle_endtag(self, tag: str) -> None:
        self._within = self._within and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._within:
            self.rows[-1][-1] += data


def test_photos_are_counted_by_what_became_of_them(measured: Measured) -> None:
    recognition = measured.figures["recognition"]
    assert recognition["counted"] == {
        "photos": 18,
        "people": 6,
        "with_several_faces": recognition["counted"]["with_several_faces"],
        "without_face": ["Ann/sky.jpg"],
        "unreadable": ["Ann/broken.jpg"],
    }
    assert (recognition["impostor_pairs"], recognition["genuine_pairs"]) == (18 * 15 // 2, 6 * 3)


def test_a_person_s_copies_match_and_other_people_do_not(measured: Measured) -> None:
    for promise in measured.figures["recognition"]["promises"]:
        assert promise["measured"]["tar"]["value"] == 1
        assert promise["measured"]["false_matches"] == 0


def test_the_page_shows_the_figures_of_the_json(measured: Measured) -> None:
    rows = Cells(measured.page).rows
    recognition = measured.figures["recognition"]
    for promise in recognition["promises"]:
        found, tar = promise["measured"], promise["measured"]["tar"]
        assert [
            f"{promise['similarity']:g}",
            f"{found['cosine']:.4f}",
            f"{promise['promised_fmr']:g}",
            f"{found['fmr']['value']:.2g} ({found['fmr']['low']:.2g}-{found['fmr']['high']:.2g})",
            str(found["false_matches"]),
            f"{100 * tar['value']:.2f} % ({100 * tar['low']:.2f}-{100 * tar['high']:.2f})",
        ] in rows
    for group in recognition["groups"]:
        pairs = f"{group['impostor_pairs']} + {group['genuine_pairs']}"
        start = [group["name"], str(group["people"]), str(group["photos"]), pairs]
        assert sum(row[:4] == start for row in rows) == 3
    assert [group["name"] for group in recognition["groups"]] == ["left", "right"]
    assert recognition["people_without_group"] == 1
    about = measured.figures["about"]
    assert ["model pack", f"mobile: {about['detector']}, {about['recogniser']}"] in rows
    for pair in measured.figures["worst"]["different"]:
        assert [pair["one"] + pair["other"], f"{pair['cosine']:.4f}", f"{pair['similarity']:.1f}", ""] in rows
    for contender in measured.figures["detection"]["contenders"]:
        for point in contender["points"]:
            shares = [
                f"{100 * at['found'] / at['faces']:.1f} %" if at["faces"] else "0.0 %"
                for at in point["recalls"]
            ]
            assert [contender["name"], f"{contender['ms']:.1f}", str(point["allowed"]), *shares] in rows


def test_all_six_faces_of_the_scene_are_found_by_every_detector(measured: Measured) -> None:
    contenders = measured.figures["detection"]["contenders"]
    assert len(contenders) == 4
    for contender in contenders:
        for point in contender["points"]:
            assert [(at["faces"], at["found"]) for at in point["recalls"]] == [(6, 6)] * 3


def test_too_few_pairs_are_warned_of_and_have_no_rates(measured: Measured) -> None:
    recognition = measured.figures["recognition"]
    assert recognition["operating_points"] == []
    said = " ".join(recognition["warnings"])
    assert "135 pairs of different people are too few for a false-match rate of 0.01 and below" in said
    assert "(0 at Similarity 80, 0 at Similarity 90, 0 at Similarity 99)" in said
    assert "6 people are few" in said
    for warning in recognition["warnings"]:
        assert warning in measured.page


def test_names_are_escaped_and_nothing_is_loaded_or_run(measured: Measured) -> None:
    assert "&lt;script&gt;/" in measured.page
    cells = Cells(measured.page)
    assert not cells.tags & {"script", "link", "iframe", "object", "base", "form"}
    assert cells.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in cells.addresses)
    assert not re.search(r"url\(|@import|https?:", measured.page)


def test_the_page_with_faces_says_that_it_is_not_for_sharing(measured: Measured) -> None:
    assert "contains faces and names. It is for local use: do not share it." in measured.page


def test_charts_have_a_line_for_each_series(measured: Measured) -> None:
    charts = re.findall(r"<svg.*?</svg>", measured.page, re.DOTALL)
    assert [chart.count("<polyline") for chart in charts] == [1, 2]
    for chart in charts:
        points = [
            point.split(",") for line in re.findall(r'points="([^"]+)"', chart) for point in line.split()
        ]
        across = [x for x, _ in points] + re.findall(r' x[12]?="([^"]+)"', chart)
        down = [y for _, y in points] + re.findall(r' y[12]?="([^"]+)"', chart)
        assert all(0 <= float(x) <= 620 for x in across)
        assert all(0 <= float(y) <= 330 for y in down)


def test_without_photos_the_page_has_no_image_data(folder: Path, tmp_path: Path) -> None:
    assert evaluate(folder, tmp_path / "found.json", NO_PHOTOS) == 0
    page = (tmp_path / "found.html").read_text()
    assert "<img" not in page
    assert "base64" not in page
    assert re.search(r"Flo/[012]\.jpg<br>Flo/[012]\.jpg", page)


def test_pairs_go_through_the_service(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(folder, own)
    (own / "boxes.json").unlink()
    names = [name for name in own_photos.NAMES if name != "Ann"]
    lines = [
        f"{name}/{one}.jpg\t{name}/{other}.jpg\t1" for name in names for one, other in combinations("012", 2)
    ]
    lines += [f"{one}/0.jpg\t{other}/0.jpg\t0" for one, other in combinations(names, 2)]
    (own / "pairs.txt").write_text(
        "\n".join([*lines, "Ann/0.jpg\tAnn/sky.jpg\t0", "Ann/0.jpg\tAnn/broken.jpg\t0"])
    )
    assert evaluate(own, tmp_path / "found.json", NO_PHOTOS) == 0
    found = json.loads((tmp_path / "found.json").read_text())["pairs_over_http"]
    assert (found["pairs"], found["without_face"]) == (27, 2)
    assert found["accuracy"]["value"] > 0.9
    assert "on 27 pairs" in (tmp_path / "found.html").read_text()


def _no_folder(folder: Path) -> Path:
    return folder / "nothing"


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def _one_person(folder: Path) -> Path:
    for name in own_photos.NAMES[1:]:
        shutil.rmtree(folder / name)
    (folder / "groups.csv").unlink()
    return folder


def _one_photo_each(folder: Path) -> Path:
    for name in own_photos.NAMES:
        for other in ("1.jpg", "2.jpg"):
            (folder / name / other).unlink()
    return folder


def _unreadable(folder: Path) -> Path:
    for path in folder.glob("*/*.jpg"):
        path.write_bytes(b"no photo")
    return folder


def _writing(name: str, text: str | bytes) -> Callable[[Path], Path]:
    def change(folder: Path) -> Path:
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return folder

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_no_folder, "is no folder"),
        (_empty, "holds no photos: it needs a folder for each person"),
        (_one_person, "show faces of 1 people: two folders of people are needed"),
        (_one_photo_each, "nobody has two photos with a face"),
        (_unreadable, "show faces of 0 people"),
        (_writing("groups.csv", "name,team\nAnn,a\n"), "first line must name the columns person and group"),
        (_writing("groups.csv", "person,group\nZoe,a\n"), "line 2: 'Zoe' has no folder with photos"),
        (_writing("groups.csv", "person,group\nAnn\n"), "line 2: 'Ann' needs one group"),
        (_writing("groups.csv", "person,group\nAnn,a\nAnn,b\n"), "line 3: 'Ann' needs one group"),
        (_writing("groups.csv", 'person,group\n"Ann,a\n'), "cannot be read"),
        (_writing("groups.csv", b"person,group\n\xff,a\n"), "cannot be read"),
        (_writing("pairs.txt", "Ann/0.jpg Di/0.jpg\n"), "line 1: not `photo photo 1` or `photo photo 0`"),
        (_writing("pairs.txt", "Ann/0.jpg Di/9.jpg 0\n"), "line 1: there is no photo Di/9.jpg"),
        (_writing("pairs.txt", "Ann/0.jpg Di/0.jpg 0\n" * 5), "5 pairs are too few: 20 are needed"),
        (_writing("boxes.json", "{"), "cannot be read"),
        (_writing("boxes.json", '{"columns": ["x"]}'), "is not laid out as docs/accuracy.md says"),
        (_writing("boxes.json", '{"columns": ["x", "y", "w", "h"], "images": {"a": []}}'), "no photo a"),
        (_writing("scene.jpg", "no photo"), "an annotated photo cannot be read"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Path], Path],
    said: str,
) -> None:
    own = tmp_path / "own"
    shutil.copytree(folder, own)
    capsys.readouterr()
    assert evaluate(change(own), tmp_path / "found.json", PHOTOS) == 1
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1
    assert not (tmp_path / "found.json").exists()


def test_a_curve_is_not_fitted_to_too_few_pairs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(folder, tmp_path / "found.json", Options(fit_curve=True, photos=False)) == 1
    assert (
        "135 pairs of different people are too few for a curve: it takes 10000000" in capsys.readouterr().err
    )


def test_an_image_of_another_kind_is_read_too(tmp_path: Path) -> None:
    for name in ("Ann", "Eileen"):
        (tmp_path / "own" / name).mkdir(parents=True)
    for number in range(2):
        (tmp_path / "own" / "Eileen" / f"{number}.PNG").write_bytes(photos.astronaut())
        (tmp_path / "own" / "Ann" / f"{number}.webp").write_bytes(
            photos.encode(photos.opened(photos.group()), "WEBP")
        )
    assert evaluate(tmp_path / "own", tmp_path / "found.json", NO_PHOTOS) == 0
    counted = json.loads((tmp_path / "found.json").read_text())["recognition"]["counted"]
    assert (counted["photos"], counted["people"], counted["with_several_faces"]) == (4, 2, 2)
