"""The dashboard and the alerts use only metrics that exist, so that no panel stays empty for a wrong name."""

import json
import re
from typing import Any

from servers import ROOT
from tables import table

from chat.metrics import prometheus

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
OPERATIONS = (ROOT / "docs/operations.md").read_text()

FAMILIES = {family.name: family for family in prometheus.registry.collect()}
SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}
LABELS = {
    f"chat_{name}_total": set(counter._labelnames) for name, (counter, _) in prometheus.LABELLED_COUNTERS.items()
} | {f"chat_{name}_bucket": {"le"} for name in prometheus.HISTOGRAMS}
"""Labels by metric, without those that Prometheus adds and the ``pid``."""
ADDED = {"job", "instance", "pid"}
WORDS = {"sum", "max", "rate", "increase", "histogram_quantile", "by"}
"""Words of PromQL in these expressions."""


def names(family: str) -> set[str]:
    """The names of a metric's series in Prometheus."""
    return {family + suffix for suffix in SUFFIXES[FAMILIES[family].type]}


KNOWN = set().union(*map(names, FAMILIES))

PANELS: list[tuple[str, str, str]] = [
    (panel["title"], target["expr"], target["legendFormat"])
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]
ALERTS: list[str] = re.findall(r"^ +expr: (.+)$", OPERATIONS, re.MULTILINE)


def parsed(expression: str) -> tuple[set[str], set[str]]:
    """An expression's metrics, and the labels that it selects or sums by."""
    labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
    for some in re.findall(r"\bby \(([\w, ]+)\)", expression):
        labels |= set(some.split(", "))
    # Only names and functions remain without labels, ranges, strings and numbers.
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\bby \([^)]*\)|\"[^\"]*\"", "", expression)
    return set(re.findall(r"[a-zA-Z_]\w*", bare)) - WORDS, labels


@table("expression", [*(panel[1] for panel in PANELS), *ALERTS])
def test_every_expression_uses_existing_metrics(expression: str) -> None:
    """The chat exports its metrics, with the labels that it uses."""
    wanted, labels = parsed(expression)
    assert wanted
    assert wanted <= KNOWN | {"up"}, wanted - KNOWN
    has = ADDED.union(*(LABELS.get(name, set()) for name in wanted))
    assert labels <= has, labels - has


@table(("title", "expression", "legend"), PANELS)
def test_every_legend_uses_remaining_labels(title: str, expression: str, legend: str) -> None:
    """A sum over a label has lost it, so the legend can't show it."""
    used = set(re.findall(r"\{\{(\w+)\}\}", legend))
    summed = "sum" in expression or "max" in expression
    left = set().union(*(set(some.split(", ")) for some in re.findall(r"\bby \(([\w, ]+)\)", expression)))
    assert used <= (left if summed else ADDED), title


def test_the_dashboard_shows_everything() -> None:
    """Every metric is on a panel."""
    shown = set().union(*(parsed(expression)[0] for _, expression, _ in PANELS))
    assert {family for family in FAMILIES if not names(family) & shown} == set()


def test_panels_do_not_overlap() -> None:
    """No panel covers another, and all are within the 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_variable_is_defined_and_used() -> None:
    """These are data source, job and instance; the others are Grafana's own."""
    defined = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__all", "__rate_interval"}
    assert used == defined


def test_every_metric_is_in_operations() -> None:
    """The table has every metric, with its name in Prometheus, its labels and its help text."""
    for name, family in FAMILIES.items():
        shown = name + SUFFIXES[family.type][0].removesuffix("_bucket")
        labels = ", ".join(sorted(LABELS.get(shown, ())))
        row = f"| `{shown}` | {family.type} | {labels} | {family.documentation} |".replace("|  |", "| |")
        assert row in OPERATIONS, row


def test_alerts_are_found() -> None:
    """The tests above would pass without any, if the alerts were not where they search."""
    assert len(ALERTS) == OPERATIONS.count("- alert: ") >= 5
