"""What the server measures of itself, in the form that Prometheus reads."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE

__all__ = ["CONTENT_TYPE", "CallMeter", "Metrics"]

CALL_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0)
COMMIT_CHANGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class CallMeter:
    """Counts the calls of one method by what became of them. Labels are looked up once: `note` takes about 1 us."""

    def __init__(self, counter: Counter, histogram: Histogram, *, transport: str, method: str) -> None:
        self._counter = counter
        self._labels = (transport, method)
        self._observe = histogram.labels(transport, method).observe
        self._increments: dict[int | str, Callable[[], None]] = {}

    def note(self, code: int | str, seconds: float) -> None:
        """A call has ended: with a code of Kuscia's (0: success), or a status of gRPC or HTTP."""
        increment = self._increments.get(code)
        if increment is None:
            increment = self._increments[code] = self._counter.labels(*self._labels, str(code)).inc
        increment()
        self._observe(seconds)


class Metrics:
    """One server's measurements, apart from those of any other in the process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        labels = ("transport", "method")
        self._calls = Counter(
            "kusciajob_calls", "Calls that have ended, by code.", (*labels, "code"), registry=self._registry
        )
        self._call_seconds = Histogram(
            "kusciajob_call_seconds",
            "From a decoded call to its answer; of a stream, its life.",
            labels,
            buckets=CALL_SECONDS,
            registry=self._registry,
        )
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
        self._jobs = Gauge("kusciajob_jobs", "Jobs stored, by state.", ("state",), registry=self._registry)
        self._parties = Gauge(
            "kusciajob_parties",
            "Parties of the jobs that are not finished, by state. Those of finished jobs, of which there may be "
            "millions, are not counted.",
            ("state",),
            registry=self._registry,
        )

    def calls(self, *, transport: str, method: str) -> CallMeter:
        """Where the calls of a method are noted."""
        return CallMeter(self._calls, self._call_seconds, transport=transport, method=method)

    def note_commit(self, seconds: float, changes: int) -> None:
        """A commit of so many changes has ended; from any thread."""
        self._commit_seconds.observe(seconds)
        self._commit_changes.observe(changes)

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Show a value that is asked for whenever someone reads."""
        Gauge(f"kusciajob_{name}", meaning, registry=self._registry).set_function(value)

    def set_jobs(self, counts: dict[str, int]) -> None:
        """How many jobs have each state."""
        for state, count in counts.items():
            self._jobs.labels(state).set(count)

    def set_parties(self, counts: dict[str, int]) -> None:
        """How many parties of unfinished jobs have each state."""
        for state, count in counts.items():
            self._parties.labels(state).set(count)

    def render(self) -> bytes:
        """All of it, as text of CONTENT_TYPE."""
        return generate_latest(self._registry)
