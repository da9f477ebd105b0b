"""The AWS CLI, unmodified, against a service that checks signatures."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.measure.programs import program
from app.measure.service import RunningService, running
from tests import photos
from tests.api.signing import KEY_ID, SECRET


@pytest.fixture(scope="module")
def locked() -> Iterator[RunningService]:
    with running(
        AUTH="required", BOOTSTRAP_ACCESS_KEY_ID=KEY_ID, BOOTSTRAP_SECRET_ACCESS_KEY=SECRET
    ) as service:
        yield service


def test_the_full_life_of_a_collection_with_users(locked: RunningService, tmp_path: Path) -> None:
    (tmp_path / "group.jpg").write_bytes(photos.group())
    (tmp_path / "portrait.png").write_bytes(photos.astronaut())

    def run(*arguments: str, secret: str = SECRET) -> "subprocess.CompletedProcess[str]":
        environment = {
            "AWS_ENDPOINT_URL_REKOGNITION": locked.url, "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": secret, "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path), "AWS_MAX_ATTEMPTS": "1",
        }  # fmt: skip
        return subprocess.run(
            [program("aws"), "rekognition", *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip

    def aws(*arguments: str) -> Any:
        done = run(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "{}")

    here = ("--collection-id", "cli")
    assert aws("create-collection", *here, "--tags", "team=a b")["StatusCode"] == 200
    indexed = aws("index-faces", *here, "--image-bytes", "fileb://group.jpg", "--external-image-id", "g.jpg")
    assert len(indexed["FaceRecords"]) == 6
    portrait = aws("index-faces", *here, "--image-bytes", "fileb://portrait.png")
    face_id = portrait["FaceRecords"][0]["Face"]["FaceId"]
    found = aws("search-faces-by-image", *here, "--image-bytes", "fileb://portrait.png")
    assert [match["Face"]["FaceId"] for match in found["FaceMatches"]] == [face_id]
    assert len(aws("list-faces", *here, "--page-size", "3")["Faces"]) == 7  # the CLI turns the pages
    aws("create-user", *here, "--user-id", "eileen")
    aws("associate-faces", *here, "--user-id", "eileen", "--face-ids", face_id)
    searched = aws("search-users-by-image", *here, "--image-bytes", "fileb://portrait.png")
    assert [match["User"]["UserId"] for match in searched["UserMatches"]] == ["eileen"]
    compared = aws(
        "compare-faces",
        "--source-image-bytes",
        "fileb://portrait.png",
        "--target-image-bytes",
        "fileb://group.jpg",
    )
    assert len(compared["UnmatchedFaces"]) == 6

    wrong = run("list-collections", secret=SECRET + "x")
    assert "InvalidSignatureException" in wrong.stderr
    missing = run("describe-collection", "--collection-id", "nowhere")
    assert "(ResourceNotFoundException)" in missing.stderr
    assert "The collection id: nowhere does not exist" in missing.stderr
    aws("delete-user", *here, "--user-id", "eileen")
    assert aws("delete-collection", *here)["StatusCode"] == 200
