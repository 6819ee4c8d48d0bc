"""What each call passes on its way in: the limits per peer, and the measurements."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

from msgspec import Struct

from kusciajob.metrics import CallMeter, Metrics


class LimitReached(Exception):
    """The call is one too many; the text names the limit and its setting."""


class Limits(Struct, frozen=True):
    """How much at once; 0 is no limit."""

    calls_per_peer: int = 0
    streams_per_peer: int = 0
    watch_streams: int = 0


class Quota:
    """Counts what is in progress by holder, up to a limit for each; who holds nothing takes no memory."""

    def __init__(self, limit: int, text: str) -> None:
        self._limit = limit
        self._text = text
        self._held: dict[str, int] = {}

    def take(self, holder: str) -> None:
        """LimitReached."""
        held = self._held.get(holder, 0)
        if self._limit and held >= self._limit:
            raise LimitReached(self._text.format(holder=holder, limit=self._limit))
        self._held[holder] = held + 1

    def give_back(self, holder: str) -> None:
        """One of those taken is over."""
        held = self._held[holder] - 1
        if held:
            self._held[holder] = held
        else:
            del self._held[holder]


class Gate:
    """Lets calls of one transport pass within the limits. The watch streams of all transports share a quota."""

    def __init__(self, transport: str, *, limits: Limits, metrics: Metrics, watch_streams: Quota) -> None:
        self.calls = Quota(
            limits.calls_per_peer,
            "{holder} has {limit} calls in progress, no more are allowed at once (setting max_calls_per_peer)",
        )
        self._streams = Quota(
            limits.streams_per_peer,
            "{holder} has {limit} streams open, no more are allowed at once (setting max_streams_per_peer)",
        )
        self._watch_streams = watch_streams
        self._transport = transport
        self._metrics = metrics

    def meter(self, method: str) -> CallMeter:
        """Where the calls of a method are noted."""
        return self._metrics.calls(transport=self._transport, method=method)

    @contextmanager
    def stream(self, peer: str, *, is_watch: bool) -> Iterator[None]:
        """A place for a stream while the block runs. LimitReached."""
        self._streams.take(peer)
        try:
            if not is_watch:
                yield
                return
            self._watch_streams.take("")
            try:
                yield
            finally:
                self._watch_streams.give_back("")
        finally:
            self._streams.give_back(peer)


def open_gates(limits: Limits, metrics: Metrics) -> tuple[Gate, Gate]:
    """Those of gRPC and HTTP."""
    watch_streams = Quota(
        limits.watch_streams, "{limit} watch streams are open, no more are allowed (setting max_watch_streams)"
    )
    grpc, http = (
        Gate(transport, limits=limits, metrics=metrics, watch_streams=watch_streams) for transport in ("grpc", "http")
    )
    return grpc, http


def host_of(peer: str) -> str:
    """The address in gRPC's name of a peer, e.g. `ipv4:10.0.0.7:4711`; what has no port is kept as it is."""
    kind, _, rest = peer.partition(":")
    if kind == "ipv4":
        return rest[: rest.rindex(":")]
    return unquote(rest).rpartition(":")[0].strip("[]") if kind == "ipv6" else peer
