"""The queries of dashboards and rules, and the metrics and labels that they name."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from app.metrics import Metrics
from tests.documents import ROOT

FOLDER = ROOT / "observability"
DASHBOARDS = sorted((FOLDER / "grafana" / "dashboards").glob("*.json"))
RULES = sorted((FOLDER / "rules").glob("*.yml"))
# What Prometheus itself adds.
ADDED_LABELS = {"job", "instance", "le"}
VARIABLES = {"$__rate_interval": "15s", "$__range": "1m", "$job": ".+", "$instance": ".+"}

_STRING = re.compile(r'"[^"]*"')
_MATCHERS = re.compile(r"([a-zA-Z_:][\w:]*)?\{([^}]*)\}")
_LABEL_LIST = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_RANGE = re.compile(r"\[[^\]]*\]")
_NAME = re.compile(r"[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])")
_WORDS = {"or", "and", "unless", "bool", "offset"}


@dataclass(frozen=True, slots=True)
class Query:
    """What a panel asks. `expr` has its variables still."""

    dashboard: str
    panel: str
    expr: str

    @property
    def asked(self) -> str:
        """As Prometheus gets it."""
        expr = self.expr
        for name, value in VARIABLES.items():
            expr = expr.replace(name, value)
        return expr

    @property
    def without_zero(self) -> str:
        """Without the zero that stands where nothing has happened."""
        return self.asked.replace(" or on () vector(0)", "")


def dashboard(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def queries(path: Path) -> Iterator[Query]:
    """Of every panel of a dashboard."""
    for panel in dashboard(path)["panels"]:
        for target in panel.get("targets", []):
            yield Query(path.stem, panel["title"], target["expr"])


def rules() -> list[dict[str, Any]]:
    """Recording rules, which have a `record`, and alerts, which have an `alert`."""
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def own_metrics() -> dict[str, set[str]]:
    """The names of the service's series, with their labels."""
    found = {}
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase):
            (described,) = metric.describe()
            endings = ("_bucket", "_sum", "_count") if isinstance(metric, Histogram) else ("",)
            endings = ("_total",) if isinstance(metric, Counter) else endings
            for ending in endings:
                found[described.name + ending] = set(metric._labelnames)
    return found


def metrics_in(expr: str) -> set[str]:
    """The names of the series that a query reads."""
    bare = _STRING.sub('""', expr)
    for pattern in (_RANGE, _LABEL_LIST):
        bare = pattern.sub(" ", bare)
    bare = re.sub(r"\{[^}]*\}", " ", bare)
    return {name for name in _NAME.findall(bare) if name not in _WORDS}


def unknown_labels(expr: str, labels_of: Mapping[str, set[str]]) -> set[str]:
    """Labels that a query names although its series don't have them; unknown series are left out."""
    bare = _STRING.sub('""', expr)
    wrong = set()
    for name, matchers in _MATCHERS.findall(bare):
        named = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        if name in labels_of:
            wrong |= named - labels_of[name] - ADDED_LABELS
    known = set().union(*(labels_of.get(name, set()) for name in metrics_in(expr))) | ADDED_LABELS
    if metrics_in(expr) <= labels_of.keys():
        for names in _LABEL_LIST.findall(bare):
            wrong |= set(re.findall(r"\w+", names)) - known
    return wrong
