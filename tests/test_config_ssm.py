"""Settings from the SSM Parameter Store: moto's, over HTTP."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import boto3
import httpx
import pytest

from app.measure.service import START_TIMEOUT_S, RunningService, running
from app.settings import Settings, SettingsError, load_settings, load_with_origins
from tests.loopback import Handler, serving
from tests.sqs_server import sqs_server

ROOT = Path(__file__).parents[1]
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": "test-secret"}

Put = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def store_url() -> Iterator[str]:
    with sqs_server() as server:  # moto serves the Parameter Store at the same address
        yield server.url


@pytest.fixture
def put(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Stores parameters below a path, and gives the environment that leads to them; it is set here too."""
    for name in (*Settings.model_fields, "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name.upper(), raising=False)

    def put_below(prefix: str, kind: str = "String", **parameters: str) -> dict[str, str]:
        with closing(
            boto3.client(
                "ssm", endpoint_url=store_url, region_name="eu-west-1", aws_access_key_id="test-key",
                aws_secret_access_key="test-secret",
            )
        ) as client:  # fmt: skip
            for name, value in parameters.items():
                client.put_parameter(Name=f"{prefix}/{name}", Value=value, Type=kind, Overwrite=True)
        environment = {
            "APP_CONFIG_PREFIX": prefix,
            "AWS_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL_SSM": store_url,
            **CREDENTIALS,
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return environment

    return put_below


def load() -> Settings:
    return load_settings(_env_file=None)


def refusal() -> str:
    """Why the settings can't be used, which is one line."""
    with pytest.raises(SettingsError) as refused:
        load()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_parameters_come_before_the_environment_and_that_before_the_file(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("/order", PORT="8101")
    (tmp_path / ".env").write_text("PORT=8103\nHOST=10.0.0.3\nLOG_LEVEL=ERROR\n")
    monkeypatch.setenv("PORT", "wrong, but not used")
    monkeypatch.setenv("HOST", "10.0.0.2")
    settings, origins = load_with_origins(_env_file=tmp_path / ".env")
    names = ("port", "host", "log_level", "workers")
    assert [getattr(settings, name) for name in names] == [8101, "10.0.0.2", "ERROR", 1]
    assert [origins[name] for name in names] == ["SSM", "environment", ".env", "default"]


def test_the_path_itself_may_stand_in_the_file(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("/in/file", PORT="8102")
    monkeypatch.delenv("APP_CONFIG_PREFIX")
    monkeypatch.delenv("AWS_REGION")
    (tmp_path / ".env").write_text("APP_CONFIG_PREFIX=/in/file/\nAWS_REGION=eu-west-1\n")
    assert load_settings(_env_file=tmp_path / ".env").port == 8102


def test_all_pages_are_read_names_in_any_letters_and_secrets_decrypted(put: Put) -> None:
    put(
        "/all/kinds",
        "SecureString",
        DATABASE_URL="postgresql://face:s@db/face",
        keys_master_key="A" * 43 + "=",
    )
    put("/all/kinds", "StringList", S3_ALLOWED="photos,others/party")
    put(
        "/all/kinds", port="8103", Workers="3", IMAGE_URLS="false", REKOGNITION_PRICES='{"IndexFaces": 0.5}',
        KEY_CALLS_A_MINUTE="image=5", MODELS_DIR="/srv/models", IMAGE_URL_ALLOWED_NETWORKS="10.0.0.0/8",
        LOG_LEVEL="DEBUG", AUTH="open",
    )  # fmt: skip
    put("/all/kinds/of/another", PORT="1")
    put("/all/kinds")
    settings = load()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql+psycopg://face:s@db/face"
    assert settings.keys_master_key is not None
    assert (settings.port, settings.workers, settings.image_urls, settings.auth) == (8103, 3, False, "open")
    assert settings.s3_allowed == ("photos", "others/party")
    assert settings.rekognition_prices == {"IndexFaces": 0.5}
    assert settings.key_calls_a_minute == {"image": 5}


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"PORTT": "hidden"}, "/wrong-0/PORTT in the Parameter Store is no setting"),
        ({"APP_CONFIG_PREFIX": "/hidden"}, "APP_CONFIG_PREFIX can't be set in the Parameter Store"),
        ({"PORT": "8000", "port": "8001"}, "is twice in the Parameter Store, in different letters"),
        ({"PORT": "hidden"}, "wrong setting: PORT: Input should be a valid integer"),
        ({}, "APP_CONFIG_PREFIX: there is no parameter below /wrong-4 in eu-west-1"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_by_name(
    put: Put, request: pytest.FixtureRequest, parameters: dict[str, str], says: str
) -> None:
    index = request.node.callspec.indices["says"]
    put(f"/wrong-{index}", **parameters)
    told = refusal()
    assert says in told
    assert "hidden" not in told


class _NotAllowed(Handler):
    """Answers as AWS does to those who may not."""

    def do_POST(self) -> None:  # noqa: N802  # http.server's name
        self.answer(
            400, b'{"__type": "AccessDeniedException", "Message": "User arn:aws:iam::1:user/x is not"}'
        )


def test_who_may_not_read_is_told_what_it_takes(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put("/denied", PORT="1")
    with serving(handler=_NotAllowed) as site:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", site.url)
        told = refusal()
    assert (
        "the Parameter Store refused /denied: AccessDeniedException; it takes ssm:GetParametersByPath" in told
    )
    assert "arn:" not in told


def test_a_store_that_cannot_be_reached_is_an_error(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put("/gone", PORT="1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:1")
    assert "the Parameter Store in eu-west-1 can't be read: EndpointConnectionError" in refusal()


def test_without_credentials_nothing_is_asked(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("/anonymous", PORT="1")
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert "can't be read: NoCredentialsError" in refusal()


def test_the_command_shows_what_came_from_the_store(put: Put, tmp_path: Path) -> None:
    environment = put("/shown", "SecureString", DATABASE_URL="postgresql://face:secret@db/face")
    done = subprocess.run(
        [sys.executable, "-m", "app", "config", "--json"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["DATABASE_URL"] == {"value": "********", "source": "SSM"}
    assert shown["APP_CONFIG_PREFIX"] == {"value": "/shown", "source": "environment"}
    assert shown["PORT"] == {"value": 8000, "source": "default"}


def two_ports() -> int:
    """A free port with a free one after it."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except OSError:
                continue
            return port


def metrics_at(url: str, service: RunningService) -> str:
    """A worker's metrics, as soon as it works."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            return httpx.get(url).text
        except httpx.ConnectError:
            assert time.monotonic() < deadline, service.log
            time.sleep(0.1)


def test_two_workers_of_a_service_share_its_database_and_not_a_port(put: Put) -> None:
    port = two_ports()
    environment = put("/served", WORKERS="2", METRICS_PORT=str(port), WORKER_NICE="0")
    with running(**environment) as service:
        shown = [metrics_at(f"http://127.0.0.1:{port + number}/metrics", service) for number in range(2)]
    assert all("worker" in metrics for metrics in shown)
