"""The server's measurements, in Prometheus' text format."""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

__all__ = ["CONTENT_TYPE", "CallMeter", "Metrics"]

CALL_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0)
LAST_COMMITS = 1000
COMMIT_CHANGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class CallMeter:
    """Counts the calls of one method by their outcome. Only the event loop's thread uses it, so it needs no lock."""

    def __init__(self, *, transport: str, method: str) -> None:
        self.labels = [transport, method]
        self.by_code: dict[int | str, int] = {}
        self.seconds = 0.0
        self._by_duration = [0] * (len(CALL_SECONDS) + 1)

    def note(self, code: int | str, seconds: float) -> None:
        """A call has ended: with a code of Kuscia's (0: success), or a status of gRPC or HTTP."""
        self.by_code[code] = self.by_code.get(code, 0) + 1
        self.seconds += seconds
        self._by_duration[bisect_left(CALL_SECONDS, seconds)] += 1

    def buckets(self) -> list[tuple[str, float]]:
        """How many calls took at most that long; as in Prometheus, each bucket includes the ones before it."""
        bounds = (*map(floatToGoString, CALL_SECONDS), "+Inf")
        return list(zip(bounds, accumulate(self._by_duration), strict=True))


class _Calls(Collector):
    """All meters, for the reader of the metrics."""

    def __init__(self) -> None:
        self.meters: list[CallMeter] = []

    def collect(self) -> Iterator[Metric]:
        labels = ("transport", "method")
        calls = CounterMetricFamily("kusciajob_calls", "Calls that have ended, by code.", labels=(*labels, "code"))
        durations = HistogramMetricFamily(
            "kusciajob_call_seconds", "From a call's bytes to its answer; of a stream, its life.", labels=labels
        )
        for meter in self.meters:
            for code, count in meter.by_code.items():
                calls.add_metric([*meter.labels, str(code)], count)
            if meter.by_code:
                durations.add_metric(meter.labels, meter.buckets(), sum_value=meter.seconds)
        yield calls
        yield durations


class Metrics:
    """The measurements of one server; another server in the process has its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._calls = _Calls()
        self._registry.register(self._calls)
        self._commit_seconds = Histogram(
            "kusciajob_commit_seconds",
            "What commits of the store take.",
            buckets=COMMIT_SECONDS,
            registry=self._registry,
        )
        self._commit_changes = Histogram(
            "kusciajob_commit_changes",
            "How many changes share a commit.",
            buckets=COMMIT_CHANGES,
            registry=self._registry,
        )
        self._last_commits: deque[float] = deque(maxlen=LAST_COMMITS)
        self._jobs = Gauge("kusciajob_jobs", "Jobs stored, by state.", ("state",), registry=self._registry)
        self._parties = Gauge(
            "kusciajob_parties",
            "Parties of the jobs that are not finished, by state. Those of finished jobs, of which there may be "
            "millions, are not counted.",
            ("state",),
            registry=self._registry,
        )

    def calls(self, *, transport: str, method: str) -> CallMeter:
        """The meter for the calls of a method."""
        meter = CallMeter(transport=transport, method=method)
        self._calls.meters.append(meter)
        return meter

    def note_commit(self, seconds: float, changes: int) -> None:
        """A commit of that many changes has ended. May be called on any thread."""
        self._commit_seconds.observe(seconds)
        self._commit_changes.observe(changes)
        self._last_commits.append(seconds)

    @property
    def last_commits(self) -> list[float]:
        """What the last commits took, in seconds, shortest first; at most LAST_COMMITS of them."""
        return sorted(self._last_commits)

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Show a value, which is fetched at each read."""
        Gauge(f"kusciajob_{name}", meaning, registry=self._registry).set_function(value)

    def set_jobs(self, counts: Mapping[str, int]) -> None:
        """How many jobs have each state."""
        for state, count in counts.items():
            self._jobs.labels(state).set(count)

    def set_parties(self, counts: Mapping[str, int]) -> None:
        """How many parties of unfinished jobs have each state."""
        for state, count in counts.items():
            self._parties.labels(state).set(count)

    def render(self) -> bytes:
        """All of it, as text of CONTENT_TYPE."""
        return generate_latest(self._registry)
