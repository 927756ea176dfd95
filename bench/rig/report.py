"""The report: Markdown tables and SVG charts from results.json."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rig.charts import Panel, Row, dot_plot, short
from rig.goals import GOALS
from rig.peers import PEERS_TABLE, Peer
from rig.places import RESULTS
from rig.summary import Run, Summary
from rig.workloads import WORKLOADS, WORKLOADS_BY_NAME, Workload

NOTHING = "—"
BUSY = 0.9
"""Above this share of its core, the figures may measure the load generator."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: a metric, or (``ratio``) the metric over ours."""

    title: str
    metric: str
    scale: float = 1.0
    ratio: bool = False
    percent: bool = False

    def cell(self, summary: Summary, workload: str, peer: Peer) -> str:
        measure = summary.ratio if self.ratio else summary.median
        value = measure(workload, peer.name, self.metric)
        if value is None:
            return NOTHING
        return f"{100 * value:.0f} %" if self.percent else short(value * self.scale)


LATENCY = (Column("p50 ms", "p50_ms"), Column("p99 ms", "p99_ms"), Column("max ms", "max_ms"))
LOAD = Column("load generator's core", "own_cpu", percent=True)
DELIVERIES = (
    Column("deliveries/s", "deliveries_per_s"),
    Column("CPU µs/delivery", "cpu_us_per_delivery"),
    Column("ratio to ours", "cpu_us_per_delivery", ratio=True),
    *LATENCY,
    Column("bytes/delivery", "bytes_per_delivery"),
    Column("server's core", "cpu_share", percent=True),
    LOAD,
)
COLUMNS: dict[str, Sequence[Column]] = {
    "a": DELIVERIES,
    "b": DELIVERIES,
    "c": (
        Column("messages/s", "messages_per_s"),
        Column("CPU µs/message", "cpu_us_per_message"),
        Column("ratio to ours", "cpu_us_per_message", ratio=True),
        *LATENCY,
        LOAD,
    ),
    "d": (
        Column("joins", "clients"),
        Column("seconds", "join_seconds"),
        Column("CPU ms/join", "cpu_ms_per_join"),
        Column("ratio to ours", "cpu_ms_per_join", ratio=True),
        Column("KB/join", "bytes_per_join", 1e-3),
        Column("MB in all", "bytes", 1e-6),
        LOAD,
    ),
    "e": (
        Column("sockets", "clients"),
        Column("KB/connection", "memory_per_client", 1e-3),
        Column("ratio to ours", "memory_per_client", ratio=True),
        Column("CPU ms/minute", "cpu_ms_per_minute"),
        Column("seconds to join all", "join_seconds"),
    ),
    "f": (
        *LATENCY,
        Column("CPU µs/delivery", "cpu_us_per_delivery"),
        Column("memory grew by MB", "rss_growth", 1e-6),
        LOAD,
    ),
    "g": (
        Column("seconds", "join_seconds"),
        Column("ratio to ours", "join_seconds", ratio=True),
        LOAD,
    ),
}


def write(target: Path) -> None:
    """Write README.md and the charts beside ``target``/results.json."""
    results = json.loads((target / "results.json").read_text())
    summary = Summary(results["runs"])
    charts = _charts(summary)
    for name, svg in charts.items():
        (target / f"{name}.svg").write_text(svg)
    (target / "README.md").write_text("\n".join(_text(results, summary, charts)) + "\n")


def line(run: Run) -> str:
    """One run, for the operator's screen."""
    head = f"{run['repeat'] + 1}  {run['workload']:<10} {run['peer']:<16}"
    if "cannot" in run:
        return f"{head} n/a: {run['cannot']}"
    parts = {
        "deliveries/s": run.get("deliveries_per_s"),
        "µs/delivery": run.get("cpu_us_per_delivery"),
        "µs/message": run.get("cpu_us_per_message") if run["workload"] == "c" else None,
        "ms/join": run.get("cpu_ms_per_join"),
        "s to join": run["join_seconds"],
        "ms p50": run.get("p50_ms") if run["latency_samples"] else None,
        "ms p99": run.get("p99_ms") if run["latency_samples"] else None,
        "ms/minute": run.get("cpu_ms_per_minute"),
        "KB/client": run["memory_per_client"] / 1e3 if run["workload"] == "e" else None,
        "% load": 100 * run["own_cpu"],
    }
    shown = "  ".join(f"{short(value)} {name}" for name, value in parts.items() if value is not None)
    lost = f"  missing {run['missing']}" if run["missing"] else ""
    return f"{head} {shown}{lost}{'  ' + run['trouble'] if run['trouble'] else ''}"


def _text(results: dict[str, Any], summary: Summary, charts: dict[str, str]) -> Iterable[str]:
    yield "# Results"
    yield ""
    yield "Written by `bench/run`; how it measures and what its limits are: [bench/README.md](../README.md)."
    yield f"Medians of {results['repeats']}; each ratio is the median of the ratios within each repeat."
    yield "CPU is that of the server's process, user and system; a dash means: not measured."
    yield ""
    yield from _machine(results)
    yield from _goals(summary)
    for name in charts:
        yield f"![{CHART_TITLES[name]}]({name}.svg)"
        yield ""
    for workload in WORKLOADS:
        if workload.name in summary.workloads():
            yield from _section(summary, workload)


def _machine(results: dict[str, Any]) -> Iterable[str]:
    machine = results["machine"]
    yield "| | |"
    yield "|---|---|"
    yield f"| date | {results['date']} |"
    yield f"| machine | {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB |"
    yield f"| system | {machine['system']}, {machine['kernel']} |"
    yield f"| cores | server on {machine['server_core']}, load generator on {machine['load_core']} |"
    yield f"| project | {machine['project']} |"
    yield f"| versions | {', '.join(f'{name} {version}' for name, version in machine['versions'].items())} |"
    yield ""


def _goals(summary: Summary) -> Iterable[str]:
    yield "## The goals"
    yield ""
    yield "| goal | measured | |"
    yield "|---|---:|---|"
    for goal in GOALS:
        figure, verdict = goal.verdict(summary)
        yield f"| {goal.text} | {figure} | {verdict} |"
    yield ""


def _section(summary: Summary, workload: Workload) -> Iterable[str]:
    columns = COLUMNS[workload.group]
    yield f"## {workload.name}: {workload.title}"
    yield ""
    yield f"| server | {' | '.join(column.title for column in columns)} |"
    yield f"|---|{'---:|' * len(columns)}"
    asked = [peer for peer in PEERS_TABLE if summary.asked(workload.name, peer.name)]
    able = [peer for peer in asked if summary.measured(workload.name, peer.name)]
    for peer in able:
        cells = [column.cell(summary, workload.name, peer) for column in columns]
        yield f"| {peer.title} | {' | '.join(cells)} |"
    yield ""
    yield from _notes(summary, workload, asked)
    yield from _above_the_floor(summary, workload)
    if workload.stuck:
        yield from _stuck_readers(summary, workload, able)


def _notes(summary: Summary, workload: Workload, asked: Sequence[Peer]) -> Iterable[str]:
    notes = []
    for peer in asked:
        reason = summary.cannot(workload.name, peer.name)
        if reason:
            notes.append(f"- {peer.title}: n/a, {reason.rstrip('.')}.")
        if troubles := summary.troubles(workload.name, peer.name):
            notes.append(f"- {peer.title}: {'; '.join(troubles)}.")
        if (summary.median(workload.name, peer.name, "own_cpu") or 0) > BUSY:
            notes.append(f"- {peer.title}: the load generator was at its limit, this could deliver more.")
        if workload.publishers and _no_round(summary, workload, peer):
            notes.append(f"- {peer.title}: no message came back to its sender in the window, so no latency.")
    yield from [*notes, ""] if notes else []


def _above_the_floor(summary: Summary, workload: Workload) -> Iterable[str]:
    single, joined = (
        summary.ratio(workload.name, "ours", "cpu_us_per_delivery", to=floor)
        for floor in ("floor", "floor-joined")
    )
    if single and joined:
        yield (
            f"Ours takes {short(single)} times the CPU of writing each delivery with a send(2) of its own, and "
            f"{short(joined)} times that of writing all {workload.in_flight} in flight with one."
        )
        yield ""


def _no_round(summary: Summary, workload: Workload, peer: Peer) -> bool:
    runs = summary.measured(workload.name, peer.name)
    return bool(runs) and not peer.floor and not any(run["completed"] for run in runs)


def _stuck_readers(summary: Summary, workload: Workload, peers: Sequence[Peer]) -> Iterable[str]:
    yield "The client that never read, when it read again:"
    yield ""
    yield "| server | p99 with it / without | memory for it, MB | messages it got | in order | after s |"
    yield "|---|---:|---:|---:|---|---:|"
    for peer in peers:
        p99 = summary.ratio(workload.name, peer.name, "p99_ms", to=peer.name, of="f-clean")
        grew = summary.median(workload.name, peer.name, "rss_growth")
        anyway = summary.median("f-clean", peer.name, "rss_growth")
        readers = [run["stuck"] for run in summary.measured(workload.name, peer.name)]
        got = f"{sum(r['received'] for r in readers):,} of {sum(r['expected'] for r in readers):,}"
        ended = ", then closed" if any(r["closed"] for r in readers) else ""
        memory = NOTHING if grew is None or anyway is None else f"{(grew - anyway) / 1e6:.1f}"
        checked = peer.dialect == "chat"
        order = ("no" if any(r["disorder"] for r in readers) else "yes") if checked else "not checked"
        seconds = max(r["seconds"] for r in readers)
        yield (
            f"| {peer.title} | {short(p99) if p99 else NOTHING} | {memory} | {got}{ended} | {order} "
            f"| {short(seconds)} |"
        )
    yield ""


# --- Charts ---

CHART_TITLES = {
    "cpu": "CPU of the server per delivery, by members of the room",
    "latency": "p99 latency, by members of the room",
    "memory": "Memory of the server per idle connection",
}


def _charts(summary: Summary) -> dict[str, str]:
    rooms = ["a10", "a100", "a1000", "a10000"]
    plans: dict[str, tuple[str, list[str], str, float]] = {
        "cpu": ("microseconds of user and system time", rooms, "cpu_us_per_delivery", 1.0),
        "latency": ("milliseconds, 64 messages in flight (last: 50 messages/s)", [*rooms, "b"], "p99_ms", 1.0),
        "memory": ("kilobytes, 10,000 connections in rooms of 100", ["e"], "memory_per_client", 1e-3),
    }
    charts = {}
    for name, (unit, workloads, metric, scale) in plans.items():
        panels = [_panel(summary, workload, metric, scale) for workload in workloads]
        if any(row.value for panel in panels for row in panel.rows):
            charts[name] = dot_plot(CHART_TITLES[name], unit, [panel for panel in panels if panel.rows])
    return charts


def _panel(summary: Summary, workload: str, metric: str, scale: float) -> Panel:
    rows = []
    for peer in PEERS_TABLE:
        value = summary.median(workload, peer.name, metric)
        if not summary.asked(workload, peer.name) or (peer.floor and value is None):
            continue
        kind = "floor" if peer.floor else "ours" if peer.ours else ""
        rows.append(Row(peer.title.replace("`", ""), None if value is None else value * scale, kind, "n/a"))
    key: Callable[[Row], float] = lambda row: row.value or float("inf")  # noqa: E731
    return Panel(WORKLOADS_BY_NAME[workload].title, sorted(rows, key=key))


if __name__ == "__main__":
    write(RESULTS)
