"""`python -m app config`, and how settings reach the workers that the service starts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from app.config_command import HIDDEN, run
from app.settings import Settings, SettingsError, load_settings
from app.worker_processes import line_for_worker

ROOT = Path(__file__).parents[1]
SECRETS = {
    "BOOTSTRAP_SECRET_ACCESS_KEY": "bootstrap-secret-of-the-first-key",
    "KEYS_MASTER_KEY": Fernet.generate_key().decode(),
    "SUPABASE_JWT_SECRET": "jwt-secret-that-nobody-may-ever-see",
    "DATABASE_URL": "postgresql://face:secret-1@db:5432/face",
    "DATABASE_DIRECT_URL": "postgresql://face:secret-2@db:5433/face",
    "S3_SECRET_ACCESS_KEY": "secret-3",
    "SUPABASE_SERVICE_ROLE_KEY": "secret-4",
    "SQS_SECRET_ACCESS_KEY": "secret-5",
}
OTHERS = {
    "BOOTSTRAP_ACCESS_KEY_ID": "AKIAEXAMPLE000000WXYZ",
    "JWT_ISSUER": "https://issuer.example.org",
    "IMAGE_URL_ALLOWED_NETWORKS": "10.1.0.0/16, fd00::/8",
    "IMAGE_URL_ALLOWED_HOSTS": "Example.org,*.example.net",
    "S3_ACCESS_KEY_ID": "short",
    "S3_ALLOWED": "photos,123456789012:others/party",
    "MODELS_DIR": "/srv/models",
    "ACCEPT_MODEL_LICENSE": "true",
    "KEY_CALLS_A_MINUTE": "image=120,write=600",
    "REKOGNITION_PRICES": '{"IndexFaces": 0.0008}',
    "MODEL_URL": "https://me:pass/word@mirror.example.org/models",
    "SQS_QUEUE_URL": "https://sqs.example.org/1/photos?signature=abcdef",
    "METRICS_PORT": "9300",
}


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty `.env` in the working directory, and an environment without settings."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ".env"
    path.touch()
    return path


def write(env_file: Path, **settings: str) -> None:
    env_file.write_text("".join(f"{name}='{value}'\n" for name, value in settings.items()))


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    assert run(as_json=False) == 0
    return dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())


def test_every_setting_has_its_value_and_its_source_on_a_line(
    env_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(env_file, **SECRETS, **OTHERS, PORT="8100", WORKERS="2", HOST="")
    monkeypatch.setenv("PORT", "8200")
    monkeypatch.setenv("LOG_LEVEL", "")
    lines = shown(capsys)
    assert list(lines) == [name.upper() for name in Settings.model_fields]
    assert lines["PORT"] == "8200  # environment"
    assert lines["WORKERS"] == "2  # .env"
    assert lines["HOST"] == "127.0.0.1  # default"  # an empty value is none
    assert lines["LOG_LEVEL"] == "INFO  # default"
    assert lines["DATABASE_URL"] == f"{HIDDEN}  # .env"
    assert lines["JWT_JWKS_URL"] == "  # default"
    assert lines["ACCEPT_MODEL_LICENSE"] == "true  # .env"
    assert lines["IMAGE_URL_ALLOWED_HOSTS"] == "example.org,*.example.net  # .env"
    assert lines["KEY_CALLS_A_MINUTE"] == "image=120,write=600  # .env"
    assert lines["REKOGNITION_PRICES"] == '{"IndexFaces": 0.0008}  # .env'


@pytest.mark.parametrize("as_json", [False, True])
def test_no_secret_is_shown(env_file: Path, capsys: pytest.CaptureFixture[str], *, as_json: bool) -> None:
    write(env_file, **SECRETS, **OTHERS)
    assert run(as_json=as_json) == 0
    printed = capsys.readouterr().out
    for value in (*SECRETS.values(), "secret-", "pass/word", "word@", "abcdef", "AKIA", "short"):
        assert value not in printed
    if as_json:
        values = {name: entry["value"] for name, entry in json.loads(printed).items()}
        assert {values[name] for name in SECRETS} == {HIDDEN}
        assert values["BOOTSTRAP_ACCESS_KEY_ID"] == f"{HIDDEN}WXYZ"
        assert values["MODEL_URL"] == f"https://{HIDDEN}@mirror.example.org/models"
        assert values["S3_ALLOWED"] == ["photos", "123456789012:others/party"]
        assert values["JWT_JWKS_URL"] is None
        assert values["ACCEPT_MODEL_LICENSE"] is True


def test_fields_that_are_secret_by_their_name_are_so_by_their_type() -> None:
    for name, field in Settings.model_fields.items():
        if "secret" in name or name.endswith("_key") or name.startswith("database_"):
            assert field.annotation == SecretStr | None, name


def test_wrong_settings_are_one_line_and_exit_status_1(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "config"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(ROOT), "REKOGNITION_PRICES": "{secret"},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(
        "svc-face-recon: wrong setting: REKOGNITION_PRICES: Value error, must be JSON"
    )
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_workers_get_the_settings_of_their_service_whatever_the_sources_say(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(env_file, **SECRETS, **OTHERS)
    of_service = load_settings()
    line = line_for_worker(of_service, 1)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    write(env_file, DATABASE_URL="postgresql://elsewhere/face", PORT="wrong", LOG_LEVEL="DEBUG")
    monkeypatch.setenv("METRICS_PORT", "1")
    monkeypatch.setenv("APP_CONFIG_PREFIX", "/not/to/be/asked")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:1")
    of_worker = load_settings(**json.loads(line))
    assert of_worker == of_service.model_copy(update={"metrics_port": 9301})


def test_workers_without_metrics_stay_so() -> None:
    none = Settings(_env_file=None, metrics_port=0)  # type: ignore[call-arg]  # pydantic-settings' own
    assert json.loads(line_for_worker(none, 1))["metrics_port"] == 0


def test_a_worker_whose_service_is_gone_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "worker", "--with-parent"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "svc-face-recon worker: the service that started this worker is gone\n"


def test_an_override_decides_whether_the_parameter_store_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_CONFIG_PREFIX", "/face")
    assert load_settings(_env_file=None, app_config_prefix=None).app_config_prefix is None
    monkeypatch.setenv("APP_CONFIG_PREFIX", "face")
    with pytest.raises(SettingsError, match="wrong setting: APP_CONFIG_PREFIX: String should match"):
        load_settings(_env_file=None)
