"""The manifests of docs/kubernetes.md: by Kubernetes' own schemas, and by what the service is."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from app.main import create_app
from app.measure.programs import program
from app.metrics import Metrics
from app.settings import Settings
from app.store.embedded import open_database
from tests.documents import ROOT, blocks

Manifest = dict[str, Any]

BLOCKS: list[Manifest] = [yaml.safe_load(text) for text in blocks(ROOT / "docs" / "kubernetes.md", "yaml")]
MANIFESTS = [block for block in BLOCKS if "kind" in block]
SETTINGS = {name.upper() for name in Settings.model_fields}
WORKLOADS = ["Deployment", "Job"]
# How long the service waits for requests in hand: uvicorn's timeout_graceful_shutdown.
REQUESTS_IN_HAND_S = 30
SECRETS = {
    "DATABASE_URL": "postgresql://face:secret@db.example.org:5432/face?sslmode=require",
    "BOOTSTRAP_ACCESS_KEY_ID": "A" * 16,
    "BOOTSTRAP_SECRET_ACCESS_KEY": "s" * 20,
    "KEYS_MASTER_KEY": "A" * 43 + "=",
    "S3_ACCESS_KEY_ID": "id",
    "S3_SECRET_ACCESS_KEY": "secret",
}


def title(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def of_kind(*kinds: str) -> list[Manifest]:
    return [manifest for manifest in MANIFESTS if manifest["kind"] in kinds]


def only(kind: str, name: str) -> Manifest:
    (found,) = [manifest for manifest in of_kind(kind) if manifest["metadata"]["name"] == name]
    return found


def pod(workload: Manifest) -> Manifest:
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def container(workload: Manifest) -> Manifest:
    (found,) = pod(workload)["containers"]
    return dict(found)


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a pod whose Secret is filled in, with what the image sets."""
    given = {**only("ConfigMap", "face-recon")["data"], **SECRETS, "HOST": "0.0.0.0"}
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return Settings(_env_file=None)  # type: ignore[call-arg]  # pydantic-settings' own


@pytest.mark.parametrize("version", ["1.30", "1.34", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("manifest", MANIFESTS, ids=title)
def test_manifests_are_what_kubernetes_takes(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_manifests_are_complete_and_lie_in_one_namespace() -> None:
    assert {manifest["kind"] for manifest in MANIFESTS} == {
        "Namespace", "ConfigMap", "Secret", "Job", "Deployment", "Service", "PodDisruptionBudget",
        "HorizontalPodAutoscaler", "NetworkPolicy",
    }  # fmt: skip
    assert len({title(manifest) for manifest in MANIFESTS}) == len(MANIFESTS)
    (namespace,) = of_kind("Namespace")
    others = [manifest for manifest in MANIFESTS if manifest is not namespace]
    assert {manifest["metadata"]["namespace"] for manifest in others} == {namespace["metadata"]["name"]}


def test_settings_exist_and_have_values_that_the_service_takes(configured: Settings) -> None:
    names = {*only("ConfigMap", "face-recon")["data"], *only("Secret", "face-recon")["stringData"]}
    assert names <= SETTINGS
    assert {"AUTH", "MODEL_PACK", "STORAGE_URL", "PUBLIC_URL"} <= names
    assert configured.auth_required
    assert configured.workers == 0


def test_the_secret_holds_no_value_and_nothing_else_holds_a_secret() -> None:
    assert only("Secret", "face-recon")["stringData"] == dict.fromkeys(SECRETS, "")
    assert not SECRETS.keys() & only("ConfigMap", "face-recon")["data"].keys()


@pytest.mark.parametrize("workload", of_kind(*WORKLOADS), ids=title)
def test_workloads_read_the_config_map_and_the_secret(workload: Manifest) -> None:
    found = container(workload)
    sources = [(kind, named["name"]) for source in found["envFrom"] for kind, named in source.items()]
    assert sources == [("configMapRef", "face-recon"), ("secretRef", "face-recon")]
    assert {entry["name"] for entry in found.get("env", [])} <= SETTINGS


@pytest.mark.parametrize("workload", of_kind(*WORKLOADS), ids=title)
def test_workloads_are_not_root_cannot_become_it_and_write_to_volumes_only(workload: Manifest) -> None:
    whole, own = pod(workload)["securityContext"], container(workload)["securityContext"]
    assert whole["runAsNonRoot"] is True
    assert f"--uid {whole['runAsUser']} " in (ROOT / "Dockerfile").read_text()
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    volumes = {volume["name"] for volume in pod(workload)["volumes"]}
    assert {mount["name"] for mount in container(workload)["volumeMounts"]} == volumes
    assert all("sizeLimit" in volume["emptyDir"] for volume in pod(workload)["volumes"])


@pytest.mark.parametrize("workload", of_kind(*WORKLOADS), ids=title)
def test_workloads_name_one_image_by_version_and_have_limits(workload: Manifest) -> None:
    found = container(workload)
    assert re.fullmatch(r"registry\.example\.org/svc-face-recon:\d+\.\d+\.\d+", found["image"])
    assert found["image"] == container(only("Deployment", "face-recon"))["image"]
    assert set(found["resources"]["limits"]) == set(found["resources"]["requests"]) == {"cpu", "memory"}


def test_threads_and_connections_fit_what_pods_may_take(configured: Settings) -> None:
    pods = 0
    for scaler in of_kind("HorizontalPodAutoscaler"):
        workload = only("Deployment", scaler["spec"]["scaleTargetRef"]["name"])
        pods += scaler["spec"]["maxReplicas"]
        assert configured.inference_threads == 0  # as many as the limit has whole cores
        assert int(container(workload)["resources"]["limits"]["cpu"]) >= 1
    assert pods * (configured.db_pool_size + configured.db_max_overflow) < 100


def test_probes_ask_what_is_served_at_ports_that_are_open(configured: Settings) -> None:
    paths = set(create_app(configured).openapi()["paths"])
    served = {"service": (configured.port, paths), "worker": (configured.metrics_port, {"/metrics"})}
    for workload in of_kind("Deployment"):
        found = container(workload)
        port, known = served[found["name"]]
        (named,) = found["ports"]
        assert named["containerPort"] == port
        for probe in ("startupProbe", "livenessProbe"):
            assert found[probe]["httpGet"]["path"] in known
            assert found[probe]["httpGet"]["port"] == named["name"]
        annotations = workload["spec"]["template"]["metadata"]["annotations"]
        assert annotations["prometheus.io/port"] == str(port)
    ready = container(only("Deployment", "face-recon"))["readinessProbe"]["httpGet"]
    assert ready == {"path": "/ready", "port": "http"}
    assert "/ready" in paths


def test_pods_have_time_to_drain_before_they_are_killed(configured: Settings) -> None:
    grace = pod(only("Deployment", "face-recon"))["terminationGracePeriodSeconds"]
    assert grace > configured.drain_seconds + REQUESTS_IN_HAND_S
    probe = container(only("Deployment", "face-recon"))["readinessProbe"]
    assert configured.drain_seconds > probe["periodSeconds"] * probe["failureThreshold"]


def test_selectors_match_the_pods_that_they_are_for() -> None:
    templates = [workload["spec"]["template"]["metadata"]["labels"] for workload in of_kind(*WORKLOADS)]
    selectors = [
        *(deployment["spec"]["selector"]["matchLabels"] for deployment in of_kind("Deployment")),
        *(service["spec"]["selector"] for service in of_kind("Service")),
        *(budget["spec"]["selector"]["matchLabels"] for budget in of_kind("PodDisruptionBudget")),
        *(policy["spec"]["podSelector"]["matchLabels"] for policy in of_kind("NetworkPolicy")),
    ]
    assert len(selectors) == 7
    for selector in selectors:
        assert any(selector.items() <= labels.items() for labels in templates)
    for policy, port in (("face-recon-service", "http"), ("face-recon-worker", "metrics")):
        ((rule,), spec) = (only("NetworkPolicy", policy)["spec"]["ingress"], only("NetworkPolicy", policy))
        assert [allowed["port"] for allowed in rule["ports"]] == [port]
        assert spec["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] in policy


def test_workers_scale_on_a_metric_that_the_service_has() -> None:
    (rule,) = next(block for block in BLOCKS if "externalRules" in block)["externalRules"]
    (metric,) = only("HorizontalPodAutoscaler", "face-recon-worker")["spec"]["metrics"]
    assert metric["external"]["metric"]["name"] == rule["name"]["as"] == "face_queue_waiting"
    assert rule["seriesQuery"] in rule["metricsQuery"]
    name = rule["seriesQuery"].partition("{")[0]
    (family,) = [found for found in Metrics().registry.collect() if found.name == name]
    assert family.type == "gauge"


def test_the_migration_job_runs_a_command_that_migrates(tmp_path: Path) -> None:
    command = container(only("Job", "face-recon-migrate"))["command"]
    assert command[0] == "alembic"
    with open_database(Settings(_env_file=None, data_dir=tmp_path)) as ready:  # type: ignore[call-arg]
        assert ready.database_url is not None
        url = ready.database_url.get_secret_value().replace("postgresql+psycopg://", "postgresql://")
        for _ in range(2):  # again, when there is nothing to do
            done = subprocess.run(
                [program("alembic"), *command[1:]],
                cwd=ROOT,
                env={**os.environ, "DATABASE_URL": url},
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr
