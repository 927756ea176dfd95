"""The project's goals, compared with the measurements."""

from collections.abc import Callable
from dataclasses import dataclass

from rig.charts import short
from rig.summary import Summary


@dataclass(frozen=True, slots=True)
class Goal:
    text: str
    # The measured figure, or None.
    figure: Callable[[Summary], float | None]
    at_most: float
    unit: str = ""

    def verdict(self, summary: Summary) -> tuple[str, str]:
        """The figure, and whether it reaches the goal or by how much it misses it."""
        value = self.figure(summary)
        if value is None:
            return "not measured", ""
        if value <= self.at_most:
            return f"{short(value)}{self.unit}", "reached"
        return f"{short(value)}{self.unit}", f"**missed**{self._by(value)}"

    def _by(self, value: float) -> str:
        if not self.at_most:
            return ""
        times = value / self.at_most
        return f", {times:.1f} times the goal" if times >= 2 else f" by {100 * (times - 1):.1f} %"


def _ours_to(peer: str, workload: str, metric: str) -> Callable[[Summary], float | None]:
    return lambda summary: summary.ratio(workload, "ours", metric, to=peer)


def _ours(workload: str, metric: str, scale: float = 1.0) -> Callable[[Summary], float | None]:
    def figure(summary: Summary) -> float | None:
        value = summary.median(workload, "ours", metric)
        return None if value is None else value * scale

    return figure


def _later_than_article(summary: Summary) -> float | None:
    ours, article = summary.median("b", "ours", "p50_ms"), summary.median("b", "article", "p50_ms")
    return None if ours is None or article is None else max(0.0, ours - article)


def _stuck_cost(summary: Summary) -> float | None:
    stuck, clean = summary.median("f-stuck", "ours", "rss_growth"), summary.median("f-clean", "ours", "rss_growth")
    return None if stuck is None or clean is None else max(0.0, (stuck - clean) / 1e6)


def _not_caught_up(summary: Summary) -> float | None:
    readers = [run["stuck"] for run in summary.measured("f-stuck", "ours")]
    missed = [reader["expected"] - reader["received"] + reader["disorder"] for reader in readers]
    return float(sum(missed)) if readers else None


def _lost(workload: str) -> Callable[[Summary], float | None]:
    def figure(summary: Summary) -> float | None:
        return float(summary.total(workload, "ours", "missing")) if summary.measured(workload, "ours") else None

    return figure


CPU, P99 = "cpu_us_per_delivery", "p99_ms"

GOALS = (
    Goal("1,000 members: CPU per delivery ≤ 1/10 of the article's server", _ours_to("article", "a1000", CPU), 0.1),
    Goal("1,000 members: CPU per delivery ≤ 1/2 of uWebSockets", _ours_to("uwebsockets", "a1000", CPU), 0.5),
    Goal("1,000 members: p99 ≤ 1/5 of the article's server", _ours_to("article", "a1000", P99), 0.2),
    Goal("100 members: CPU per delivery ≤ 1/3 of the article's server", _ours_to("article", "a100", CPU), 1 / 3),
    Goal("10 members: CPU per delivery no worse than the article's server", _ours_to("article", "a10", CPU), 1.0),
    Goal("10,000 members: deliveries missing", _lost("a10000"), 0),
    Goal("10,000 members, 16 in flight: deliveries missing", _lost("a10000x16"), 0),
    Goal("10,000 members, 16 in flight: p99 < 500 ms", _ours("a10000x16", P99), 500, " ms"),
    Goal("10,000 idle sockets: < 40 KB each", _ours("e", "memory_per_client", 1e-3), 40, " KB"),
    Goal("50 messages/s to 100: p50 at most 1 ms after the article's server", _later_than_article, 1, " ms"),
    Goal("50 messages/s to 100: p99 no worse than the article's server", _ours_to("article", "b", P99), 1.0),
    Goal(
        "500 rooms of 2: CPU per message no more than the article's server",
        _ours_to("article", "c", "cpu_us_per_message"),
        1.0,
    ),
    Goal("5,000 joins: ≤ 2 ms of CPU each", _ours("d", "cpu_ms_per_join"), 2, " ms"),
    Goal(
        "one of 1,000 never reads: p99 of the others ≤ 1.2 of that without it",
        lambda summary: summary.ratio("f-stuck", "ours", P99, of="f-clean"),
        1.2,
    ),
    Goal("one of 1,000 never reads: < 2 MB of memory for it", _stuck_cost, 2, " MB"),
    Goal("it reads again: messages missing or out of order", _not_caught_up, 0),
    Goal("1,000 connect at once: all joined within 3 s", _ours("g", "join_seconds"), 3, " s"),
)
