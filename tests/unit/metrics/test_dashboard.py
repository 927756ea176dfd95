"""The dashboard and the alerts against what the chat tells: no panel of them stays empty for a wrong name."""

import json
import re
from typing import Any

import pytest
from servers import ROOT

from chat.metrics import prometheus

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
OPERATIONS = (ROOT / "docs/operations.md").read_text()

FAMILIES = {family.name: family for family in prometheus.registry.collect()}
SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}
LABELS = {f"chat_{name}_total": set(counter._labelnames) for name, (counter, _) in prometheus.LABELLED.items()} | {
    f"chat_{name}_bucket": {"le"} for name in prometheus.SPREADS
}
"""Of the names that have some, beside those that Prometheus adds and the ``pid``."""
ADDED = {"job", "instance", "pid"}
WORDS = {"sum", "max", "rate", "increase", "histogram_quantile", "by"}
"""Of PromQL, as far as these expressions use it."""


def names(family: str) -> set[str]:
    """The names under which Prometheus has a metric."""
    return {family + suffix for suffix in SUFFIXES[FAMILIES[family].type]}


KNOWN = set().union(*map(names, FAMILIES))

PANELS: list[tuple[str, str, str]] = [
    (panel["title"], target["expr"], target["legendFormat"])
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]
ALERTS: list[str] = re.findall(r"^ +expr: (.+)$", OPERATIONS, re.MULTILINE)


def asked(expression: str) -> tuple[set[str], set[str]]:
    """The metrics that an expression asks for, and the labels that it selects or sums by."""
    labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
    for some in re.findall(r"\bby \(([\w, ]+)\)", expression):
        labels |= set(some.split(", "))
    # Without labels, ranges, strings and numbers only names and functions are left.
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\bby \([^)]*\)|\"[^\"]*\"", "", expression)
    return set(re.findall(r"[a-zA-Z_]\w*", bare)) - WORDS, labels


@pytest.mark.parametrize("expression", [*(panel[1] for panel in PANELS), *ALERTS])
def test_every_expression_asks_for_what_there_is(expression: str) -> None:
    """Its metrics are ours, and have the labels that it asks for."""
    wanted, labels = asked(expression)
    assert wanted
    assert wanted <= KNOWN | {"up"}, wanted - KNOWN
    has = ADDED.union(*(LABELS.get(name, set()) for name in wanted))
    assert labels <= has, labels - has


@pytest.mark.parametrize(("title", "expression", "legend"), PANELS)
def test_every_legend_names_what_is_left_of_the_labels(title: str, expression: str, legend: str) -> None:
    """What is summed over a label can't be told by it."""
    told = set(re.findall(r"\{\{(\w+)\}\}", legend))
    summed = "sum" in expression or "max" in expression
    left = set().union(*(set(some.split(", ")) for some in re.findall(r"\bby \(([\w, ]+)\)", expression)))
    assert told <= (left if summed else ADDED), title


def test_the_dashboard_shows_everything() -> None:
    """There is no metric that none of its panels asks for."""
    shown = set().union(*(asked(expression)[0] for _, expression, _ in PANELS))
    assert {family for family in FAMILIES if not names(family) & shown} == set()


def test_its_panels_have_their_own_places() -> None:
    """None lies over another, and none leaves the 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_its_variables_are_those_of_its_expressions() -> None:
    """Data source, job and instance; the rest is Grafana's own."""
    defined = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__all", "__rate_interval"}
    assert used == defined


def test_every_metric_is_in_operations() -> None:
    """The table of them has each, under the name that Prometheus has, with its labels and what it means."""
    for name, family in FAMILIES.items():
        shown = name + SUFFIXES[family.type][0].removesuffix("_bucket")
        labels = ", ".join(sorted(LABELS.get(shown, ())))
        row = f"| `{shown}` | {family.type} | {labels} | {family.documentation} |".replace("|  |", "| |")
        assert row in OPERATIONS, row


def test_there_are_alerts() -> None:
    """They are found where the tests above look for them."""
    assert len(ALERTS) == OPERATIONS.count("- alert: ") >= 5
