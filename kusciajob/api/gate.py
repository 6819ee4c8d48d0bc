"""The gate that each call passes: limits per peer, and measurements."""

import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from urllib.parse import unquote

from msgspec import Struct

from kusciajob.telemetry.metrics import CallMeter, Metrics

RESERVED_DESCRIPTORS = 32
DESCRIPTOR_SECONDS = 0.05
"""How long what was found of the descriptors is believed."""


class LimitReached(Exception):
    """The call exceeds a limit; the text names the limit and its setting."""


class Limits(Struct, frozen=True):
    """The most at one time; 0 means no limit."""

    calls_per_peer: int = 0
    streams_per_peer: int = 0
    streams_per_domain: int = 0
    watch_streams: int = 0
    body_bytes_per_peer: int = 0
    body_bytes: int = 0


class Quota:
    """Counts what is in progress for each holder, up to a limit. A holder of nothing takes no memory."""

    def __init__(self, limit: int, text: str) -> None:
        self._limit = limit
        self._text = text
        self._held: dict[str, int] = {}

    def take(self, holder: str) -> None:
        """Take one place. Raises LimitReached."""
        held = self._held.get(holder, 0)
        if self._limit and held >= self._limit:
            raise LimitReached(self._text.format(holder=holder, limit=self._limit))
        self._held[holder] = held + 1

    @property
    def held(self) -> Mapping[str, int]:
        """How many places each holder has that has any."""
        return self._held

    def give_back(self, holder: str) -> None:
        """Give one place back."""
        held = self._held[holder] - 1
        if held:
            self._held[holder] = held
        else:
            del self._held[holder]


def take_places(*places: tuple[Quota, str]) -> ExitStack:
    """Take a place of each quota, all or none. Closing the result gives them back. Raises LimitReached."""
    with ExitStack() as held:
        for quota, holder in places:
            quota.take(holder)
            held.callback(quota.give_back, holder)
        return held.pop_all()


class BodyBudget:
    """Limits the bytes of requests in reception and decoding, for one peer and in all; 0 means no limit."""

    def __init__(self, *, per_peer: int = 0, in_all: int = 0) -> None:
        self._per_peer = per_peer
        self._in_all = in_all
        self._held: dict[str, int] = {}
        self._total = 0

    @property
    def held(self) -> Mapping[str, int]:
        """How many bytes each peer has in reception and decoding."""
        return self._held

    @contextmanager
    def hold(self, peer: str) -> Iterator[Callable[[int], None]]:
        """A function that takes bytes for a request, or raises LimitReached. The block's end gives them back."""
        held = 0

        def take(count: int) -> None:
            nonlocal held
            self.check(peer, count)
            held += count
            self._held[peer] = self._held.get(peer, 0) + count
            self._total += count

        try:
            yield take
        finally:
            self._give_back(peer, held)

    def check(self, peer: str, count: int, *, others: int = 0) -> None:
        """Raise LimitReached if that many more bytes of the peer, and of others, would exceed the budget."""
        if self._per_peer and self._held.get(peer, 0) + count > self._per_peer:
            raise LimitReached(
                f"{peer} has too much of requests on the way: at most {self._per_peer >> 20} MiB at once "
                "(setting max_upload_mib_per_peer)"
            )
        if self._in_all and self._total + count + others > self._in_all:
            raise LimitReached(
                f"too much of requests is on the way: at most {self._in_all >> 20} MiB at once from all addresses "
                "(setting max_upload_mib)"
            )

    def _give_back(self, peer: str, count: int) -> None:
        held = self._held.get(peer, 0) - count
        if held > 0:
            self._held[peer] = held
        else:
            self._held.pop(peer, None)
        self._total -= count


class Descriptors:
    """Reserves the last file descriptors of the process for present work, and for refusing new calls.

    With none left, a connection can be neither accepted nor refused: its client would learn nothing.
    """

    def __init__(self) -> None:
        self._checked_at = 0.0
        self._left = RESERVED_DESCRIPTORS

    def check(self, now: float) -> None:
        """Raise LimitReached while fewer than RESERVED_DESCRIPTORS are left. `now` is of time.perf_counter()."""
        if now - self._checked_at >= DESCRIPTOR_SECONDS:
            self._checked_at, self._left = now, _descriptors_left()
        if self._left < RESERVED_DESCRIPTORS:
            raise LimitReached(
                f"the server has {self._left} file descriptors left, {RESERVED_DESCRIPTORS} are kept for what goes on "
                "already: close connections, or raise the limit of open files (ulimit -n)"
            )


def _descriptors_left() -> int:
    try:
        lowest_free = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    os.close(lowest_free)
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - lowest_free


class Gate:
    """Admits calls of one transport within the limits. Limits of watch streams and domains hold over all transports."""

    def __init__(
        self,
        transport: str,
        *,
        limits: Limits,
        metrics: Metrics,
        watch_streams: Quota,
        domain_streams: Quota,
        descriptors: Descriptors,
    ) -> None:
        self.bodies = BodyBudget(per_peer=limits.body_bytes_per_peer, in_all=limits.body_bytes)
        self.connections: Mapping[str, int] = {}
        """How many each address has. The server of the transport keeps it."""
        self._descriptors = descriptors
        self._domain_streams = domain_streams
        self._calls = Quota(
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

    def enter(self, peer: str, now: float) -> None:
        """A call begins; it must `leave`. Raises LimitReached. `now` is of time.perf_counter()."""
        self._descriptors.check(now)
        self._calls.take(peer)

    def leave(self, peer: str) -> None:
        """A call that entered is over."""
        self._calls.give_back(peer)

    @property
    def held(self) -> dict[str, Mapping[str, int]]:
        """How much each holder has of limits, by the names of their settings."""
        return {
            "max_calls_per_peer": self._calls.held,
            "max_streams_per_peer": self._streams.held,
            "max_streams_per_domain": self._domain_streams.held,
            "max_watch_streams": self._watch_streams.held,
        }

    def meter(self, method: str) -> CallMeter:
        """The meter for the calls of a method."""
        return self._metrics.calls(transport=self._transport, method=method)

    @contextmanager
    def stream(self, peer: str, *, is_watch: bool, domain: str = "") -> Iterator[None]:
        """A place for a stream while the block runs; the master's domain is empty. Raises LimitReached."""
        self._descriptors.check(time.perf_counter())
        places = [(self._streams, peer)]
        if domain:
            places.append((self._domain_streams, domain))
        if is_watch:
            places.append((self._watch_streams, ""))
        with take_places(*places):
            yield


def open_gates(limits: Limits, metrics: Metrics) -> tuple[Gate, Gate]:
    """The gates of gRPC and HTTP."""
    watch_streams = Quota(
        limits.watch_streams, "{limit} watch streams are open, no more are allowed (setting max_watch_streams)"
    )
    domain_streams = Quota(
        limits.streams_per_domain,
        'domain "{holder}" has {limit} streams open, no more are allowed (setting max_streams_per_domain)',
    )
    descriptors = Descriptors()
    grpc, http = (
        Gate(
            transport,
            limits=limits,
            metrics=metrics,
            watch_streams=watch_streams,
            domain_streams=domain_streams,
            descriptors=descriptors,
        )
        for transport in ("grpc", "http")
    )
    return grpc, http


def host_of(peer: str) -> str:
    """The address in gRPC's name of a peer, e.g. `ipv4:10.0.0.7:4711`; what has no port is kept as it is."""
    kind, _, rest = peer.partition(":")
    if kind == "ipv4":
        return rest[: rest.rindex(":")]
    return unquote(rest).rpartition(":")[0].strip("[]") if kind == "ipv6" else peer
