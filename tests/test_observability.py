"""What watches the service: rules, alerts, dashboards and the runbook, against a real Prometheus."""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from app.api.access import WITHOUT_IMAGES
from app.api.aws.operations import OPERATIONS
from app.main import create_app
from app.measure.pairs_http import rekognition as rekognition_client
from app.measure.s3_server import free_ports
from app.measure.service import running
from app.settings import Settings
from tests.documents import ROOT
from tests.observability.load import Load
from tests.observability.queries import (
    DASHBOARDS,
    FOLDER,
    RULES,
    dashboard,
    metrics_in,
    own_metrics,
    queries,
    rules,
    unknown_labels,
)
from tests.observability.server import Prometheus, program, prometheus

ALERTS = [rule for rule in rules() if "alert" in rule]
RECORDS = [rule for rule in rules() if "record" in rule]
RUNBOOK = ROOT / "docs" / "runbook.md"
CASES = ROOT / "tests" / "observability" / "alerts_test.yml"
# node_exporter reads the machine's own disks and cAdvisor its container runtime: neither is here, so that no
# test shows that these panels have data.
UNTESTED_DASHBOARDS = {"host"}
EXPORTERS = {"up", "ALERTS"} | {
    name
    for path in DASHBOARDS
    if path.stem in UNTESTED_DASHBOARDS
    for query in queries(path)
    for name in metrics_in(query.expr)
    if name.startswith(("node_", "container_"))
}
# They show a zero until something happens that this load does not bring about: a failure of the service's
# own, and messages of a queue.
ZERO_WHEN_ALL_IS_WELL = {("overview", "Failures of the service"), ("albums", "Messages about photos")}
PATIENCE_S = 150


def labels_of() -> dict[str, set[str]]:
    """The series that exist, with their labels. What a rule records bears those that it aggregates by."""
    records = {
        rule["record"]: {"job", "instance"} if "by (job, instance)" in rule["expr"] else set()
        for rule in RECORDS
    }
    return {**own_metrics(), **records}


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_are_valid() -> None:
    run(program("promtool"), "check", "rules", *map(str, RULES))


def test_configuration_is_valid_and_takes_the_rules() -> None:
    run(program("promtool"), "check", "config", str(FOLDER / "prometheus.yml"))
    configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    taken = {path for pattern in configuration["rule_files"] for path in FOLDER.glob(pattern)}
    assert taken == set(RULES)
    scraped = {job["job_name"] for job in configuration["scrape_configs"]}
    asked = {job for rule in ALERTS for job in re.findall(r'job="([^"]+)"', rule["expr"])}
    assert asked <= scraped


def test_alerts_fire_when_they_must_and_only_then() -> None:
    run(program("promtool"), "test", "rules", str(CASES))


def test_every_alert_is_tested_both_ways() -> None:
    fires: set[str] = set()
    keeps_quiet: set[str] = set()
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for asked in case["promql_expr_test"]:
            for pattern in re.findall(r'alertname=~?"([^"]+)"', asked["expr"]):
                names = {rule["alert"] for rule in ALERTS if re.fullmatch(pattern, rule["alert"])}
                assert names, pattern
                (fires if asked.get("exp_samples") else keeps_quiet).update(names)
    names = {rule["alert"] for rule in ALERTS}
    assert fires == names
    assert keeps_quiet == names


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    name = str(rule["alert"])
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
    sections = re.split(r"^## ", RUNBOOK.read_text(), flags=re.MULTILINE)
    (section,) = (part for part in sections if part.splitlines()[0] == name)
    parts = ["**Means**", "**Users notice**", "**Look first**", "**Do**", "**Silence**"]
    assert [part for part in parts if part in section] == parts
    assert len(section.splitlines()) <= 25


def test_runbook_explains_no_alert_that_is_gone() -> None:
    headings = re.findall(r"^## (Face\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in ALERTS]


def test_panels_that_the_runbook_names_exist() -> None:
    titles = {(path.stem, panel["title"]) for path in DASHBOARDS for panel in dashboard(path)["panels"]}
    named = re.findall(r"\*([a-z]+): ([^*]+)\*", RUNBOOK.read_text())
    assert named
    assert {(board, title) for board, title in named} <= titles


def test_rules_and_dashboards_name_metrics_and_labels_that_exist() -> None:
    known = labels_of()
    asked = [rule["expr"] for rule in rules()]
    asked += [query.asked for path in DASHBOARDS for query in queries(path)]
    for expr in asked:
        assert metrics_in(expr) <= known.keys() | EXPORTERS, expr
        assert unknown_labels(expr, known) == set(), expr


def test_a_metric_or_label_that_does_not_exist_would_be_found() -> None:
    known = labels_of()
    assert metrics_in('sum by (le) (rate(no_such_total{code=~"a|b"}[5m])) or on () vector(0)') == {
        "no_such_total"
    }
    assert unknown_labels('requests_refused_total{reason="key"}', known) == {"reason"}
    assert unknown_labels("sum by (reason, job) (requests_refused_total)", known) == {"reason"}


def test_the_latency_objective_is_about_all_operations_with_an_image() -> None:
    document = create_app(Settings(_env_file=None)).openapi()  # type: ignore[call-arg]  # pydantic-settings' own
    posted = {path["post"]["operationId"] for path in document["paths"].values() if "post" in path}
    with_image = {name for name, operation in OPERATIONS.items() if operation.call_class == "image"}
    with_image |= posted - WITHOUT_IMAGES - {"JoinAlbum"}
    named = [
        set(names.split("|"))
        for rule in RECORDS
        for names in re.findall(r'operation=~"([^"]+)"', rule["expr"])
    ]
    assert named == [with_image, with_image]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_are_what_grafana_takes_and_operators_understand(path: Path) -> None:
    board = dashboard(path)
    assert board["uid"] == f"face-{path.stem}"
    assert board["schemaVersion"] >= 39
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "job", "instance"]
    assert "id" not in board
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + across, place["y"] + down)
            for across in range(place["w"])
            for down in range(place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith("."), panel["title"]
        assert panel["targets"], panel["title"]
        assert panel["type"] == "heatmap" or panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    uids = re.findall(r'"uid": "([^"]+)"', path.read_text())
    assert set(uids) == {board["uid"], "${datasource}"}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


def test_provisioning_agrees_with_the_compose_file() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.local.yaml").read_text())["services"]
    mounts = dict(mount.split(":")[:2] for mount in compose["grafana"]["volumes"])
    provisioning = FOLDER / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "face.yaml").read_text())["providers"]
    assert mounts["./observability/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert mounts["./observability/grafana/dashboards"] == provider["options"]["path"]
    assert source["url"] == "http://prometheus:9090"
    for path in DASHBOARDS:
        assert dashboard(path)["templating"]["list"][0]["current"]["value"] == source["uid"]
    scraped = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped


@dataclass(frozen=True)
class Watched:
    """A service and its worker under load, and the Prometheus that scrapes both."""

    prometheus: Prometheus
    load: Load

    def missing(self, exprs: list[str]) -> list[str]:
        """Those that have no number, after as much load as it takes."""
        deadline = time.monotonic() + PATIENCE_S
        while (left := [expr for expr in exprs if not self._has_number(expr)]) and (
            time.monotonic() < deadline
        ):
            self.load.run()
        return left

    def _has_number(self, expr: str) -> bool:
        return any(sample["value"][1] != "NaN" for sample in self.prometheus.query(expr))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("photos")
    [worker_port] = free_ports(1)
    program("prometheus")  # before anything is started in vain
    with ExitStack() as stack:
        service = stack.enter_context(
            running(WORKERS="1", WORKER_NICE="0", METRICS_PORT=str(worker_port), FOLDERS_ALLOWED=str(folder))
        )
        targets = {
            "svc-face-recon": service.url.removeprefix("http://"),
            "svc-face-recon-worker": f"127.0.0.1:{worker_port}",
        }
        seen = stack.enter_context(prometheus(tmp_path_factory.mktemp("prometheus"), targets))
        http = stack.enter_context(httpx.Client(base_url=service.url, timeout=60))
        load = Load(rekognition_client(service.url), http, folder)
        load.prepare()
        load.run()
        load.run()
        yield Watched(seen, load)


def test_service_and_worker_are_scraped(watched: Watched) -> None:
    assert watched.missing(['up{job="svc-face-recon"} == 1', 'up{job="svc-face-recon-worker"} == 1']) == []


@pytest.mark.parametrize(
    "path", [path for path in DASHBOARDS if path.stem not in UNTESTED_DASHBOARDS], ids=lambda path: path.stem
)
def test_every_query_of_every_panel_has_data(watched: Watched, path: Path) -> None:
    asked = [
        query.asked if (query.dashboard, query.panel) in ZERO_WHEN_ALL_IS_WELL else query.without_zero
        for query in queries(path)
    ]
    assert watched.missing(asked) == []


@pytest.mark.parametrize(
    "path", [path for path in DASHBOARDS if path.stem not in UNTESTED_DASHBOARDS], ids=lambda path: path.stem
)
def test_variables_find_the_processes(watched: Watched, path: Path) -> None:
    for variable in dashboard(path)["templating"]["list"][1:]:
        metric = re.sub(r"label_values\((.*), \w+\)", r"\1", variable["query"]["query"])
        found = watched.prometheus.query(metric.replace("$job", ".+"))
        assert {sample["metric"]["job"] for sample in found} == {"svc-face-recon", "svc-face-recon-worker"}


def test_every_rule_evaluates_and_every_recording_rule_has_data(watched: Watched) -> None:
    assert watched.missing([rule["record"] for rule in RECORDS]) == []
    evaluated = watched.prometheus.rules()
    assert len(evaluated) == len(ALERTS) + len(RECORDS)
    assert {rule["health"] for rule in evaluated} == {"ok"}, evaluated


def test_no_alert_is_about_to_fire_where_all_is_well(watched: Watched) -> None:
    """But those of the load's own doing: broken photos, and this machine's disk and speed."""
    own = {"FacePhotosFailing", "FaceDataDiskLow", "FaceDataDiskFull"}
    pending = {sample["metric"]["alertname"] for sample in watched.prometheus.query("ALERTS")}
    assert {name for name in pending - own if not name.startswith("FaceLatency")} == set()
