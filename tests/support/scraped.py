"""The metrics that Prometheus reads, as tests ask for them: told.of("chat_closed_total", by="server")."""

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from chat.loops import current
from chat.metrics import prometheus
from chat.metrics.collector import Collector


class Numbers:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.samples: list[Sample] = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    @property
    def names(self) -> set[str]:
        return {sample.name for sample in self.samples}

    def each(self, name: str, **labels: str) -> list[Sample]:
        """Those with this name and these labels, whatever others they have."""
        return [each for each in self.samples if each.name == name and labels.items() <= each.labels.items()]

    def of(self, name: str, **labels: str) -> float:
        """Their sum."""
        return sum(sample.value for sample in self.each(name, **labels))


def now() -> Numbers:
    """The metrics of this process now, from its event loop."""
    current(Collector).collect()
    return Numbers(prometheus.exposition().decode())


class Since:
    """Counts from here on."""

    def __init__(self) -> None:
        self._before = now()

    def of(self, name: str, **labels: str) -> float:
        return now().of(name, **labels) - self._before.of(name, **labels)
