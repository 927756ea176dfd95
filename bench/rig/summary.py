"""Many runs to one figure: medians, and ratios that are taken within each repeat."""

from collections import defaultdict
from statistics import median
from typing import Any

Run = dict[str, Any]

REFERENCE = "ours"


class Summary:
    """The results of the runs. ``None`` stands for a missing figure."""

    def __init__(self, runs: list[Run]) -> None:
        self._runs: dict[tuple[str, str], list[Run]] = defaultdict(list)
        for run in runs:
            self._runs[run["workload"], run["peer"]].append(run)

    def workloads(self) -> set[str]:
        return {workload for workload, _ in self._runs}

    def measured(self, workload: str, peer: str) -> list[Run]:
        return [run for run in self._runs.get((workload, peer), ()) if "cannot" not in run]

    def asked(self, workload: str, peer: str) -> bool:
        return (workload, peer) in self._runs

    def cannot(self, workload: str, peer: str) -> str | None:
        """Why the peer did not do the work: the message of its first failure."""
        return next((run["cannot"] for run in self._runs.get((workload, peer), ()) if "cannot" in run), None)

    def median(self, workload: str, peer: str, metric: str) -> float | None:
        values = [run[metric] for run in self.measured(workload, peer) if metric in run]
        return median(values) if values else None

    def ratio(
        self, workload: str, peer: str, metric: str, *, to: str = REFERENCE, of: str | None = None
    ) -> float | None:
        """The peer's figure over another's, in the median of the repeats; ``of`` is the other's workload."""
        others = {run["repeat"]: run for run in self.measured(of or workload, to)}
        ratios = [
            run[metric] / others[run["repeat"]][metric]
            for run in self.measured(workload, peer)
            if metric in run and others.get(run["repeat"], {}).get(metric)
        ]
        return median(ratios) if ratios else None

    def total(self, workload: str, peer: str, count: str) -> int:
        return sum(run.get(count, 0) for run in self.measured(workload, peer))

    def troubles(self, workload: str, peer: str) -> list[str]:
        """Faults during the work, for a footnote."""
        runs = self.measured(workload, peer)
        missing = sum(run["missing"] for run in runs)
        counts = {
            f"{missing:,} deliveries had not come when the load generator stopped waiting": missing,
            f"{self.total(workload, peer, 'broken')} broken frames": self.total(workload, peer, "broken"),
            f"{self.total(workload, peer, 'refused')} commands refused": self.total(workload, peer, "refused"),
            f"{self.total(workload, peer, 'closed')} connections lost": self.total(workload, peer, "closed"),
            f"{self.total(workload, peer, 'disorder')} deliveries out of order": self.total(
                workload, peer, "disorder"
            ),
        }
        said = [text for text, count in counts.items() if count]
        first = next((run["trouble"] for run in runs if run.get("trouble")), "")
        return [*said, f"first: “{first}”"] if said and first else said
