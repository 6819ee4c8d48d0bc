"""Follows all objects of one kind: a list, then the changes since, for as long as the server lives.

Libraries do this badly: after a 410 they begin at a new version without a list, so that deletions are lost, or they
never notice that a connection is dead.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Generic, Protocol, TypeVar

import msgspec
from msgspec import Struct

from kusciajob.runtime.hosted.engine import EngineUnavailable
from kusciajob.runtime.kubernetes.api import Api, ApiError, Expired, error_of_event

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 8 * 1024 * 1024
PAGE = "250"
_RANDOM = secrets.SystemRandom()


class Metadata(Struct, frozen=True, rename="camel"):
    """What every object has."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    deletion_timestamp: str = ""
    deletion_grace_period_seconds: int = 0


class Watched(Protocol):
    """An object that can be watched."""

    @property
    def metadata(self) -> Metadata: ...


T = TypeVar("T", bound=Watched)


class ListMetadata(Struct, frozen=True, rename="camel"):
    """Where a list stands in the log of changes, and where it goes on."""

    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _List(Struct, frozen=True):
    metadata: ListMetadata = ListMetadata()
    items: list[msgspec.Raw] | None = None


class _Change(Struct, frozen=True):
    type: str
    object: msgspec.Raw


class _Versioned(Struct, frozen=True):
    metadata: Metadata = Metadata()


class Timing(Struct, frozen=True):
    """In seconds. `quiet`: after that long without a word, bookmarks included, a connection counts as dead."""

    quiet: float = 100.0
    longest: float = 300.0
    first_pause: float = 0.5
    longest_pause: float = 30.0


USUAL = Timing()


class Watch(Generic[T]):
    """Tells each object that exists, each change and each end, also of what ended while nobody could look.

    `seen` and `gone` are told on the event loop; `gone` gets the object as it was last seen. `reachable` is told
    whenever the API server answers, or why it does not.
    """

    def __init__(
        self,
        api: Api,
        path: str,
        kind: type[T],
        *,
        seen: Callable[[T], None],
        gone: Callable[[T], None] = lambda _object: None,
        listed: asyncio.Event | None = None,
        reachable: Callable[[str], None] = lambda _error: None,
        query: dict[str, str] | None = None,
        is_history_wanted: bool = True,
        timing: Timing = USUAL,
    ) -> None:
        """`is_history_wanted`: False if only what comes from now on is told, and nothing is kept."""
        self._api = api
        self._path = path
        self._kind = kind
        self._seen = seen
        self._gone = gone
        self._reachable = reachable
        self._query = query or {}
        self._is_history_wanted = is_history_wanted
        self._timing = timing
        self._known: dict[str, T] = {}
        """The last state of each object, by its uid."""
        self._version = ""
        """From where the log is to be read; "" if a list is needed."""
        self._failures = 0
        self.listed = listed or asyncio.Event()
        """Set once all that existed has been told."""

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._follow()
            except Expired:
                logger.info("%s: the log of changes does not go back that far, listing again", self._path)
                self._version = ""
                # A server that answers nothing else must not be asked without a pause.
                await self._pause_after_failure()
            except (EngineUnavailable, ApiError) as error:
                # A connection that ends and is made at once is no outage.
                if self._failures == 1:
                    logger.warning("watching %s: %s", self._path, error)
                if self._failures:
                    self._reachable(str(error))
                await self._pause_after_failure()

    def _works(self) -> None:
        self._failures = 0
        self._reachable("")

    async def _pause_after_failure(self) -> None:
        longest = min(self._timing.first_pause * 2**self._failures, self._timing.longest_pause)
        self._failures = min(self._failures + 1, 16)
        await asyncio.sleep(_RANDOM.uniform(longest / 2, longest))

    async def _list(self) -> None:
        """Tell what exists and differs from what was told last, then what has vanished meanwhile."""
        if not self._is_history_wanted:
            listed = await self._api.get(self._path, _List, **self._query, limit="1")
            self._version = listed.metadata.resource_version
            self.listed.set()
            return
        vanished = dict(self._known)
        continued = ""
        while True:
            query = {**self._query, "limit": PAGE, **({"continue": continued} if continued else {})}
            page = await self._api.get(self._path, _List, **query)
            for item in page.items or ():
                if (found := self._decode(item)) is None:
                    continue
                before = vanished.pop(found.metadata.uid, None)
                if before is None or before.metadata.resource_version != found.metadata.resource_version:
                    self._tell(found)
            continued = page.metadata.continue_
            if not continued:
                break
        for object_ in vanished.values():
            self._forget(object_)
        self._version = page.metadata.resource_version
        self.listed.set()

    async def _follow(self) -> None:
        """Tell the changes since; return when the API server ends the watch, which it does from time to time."""
        # Of what has no history an API server sends no bookmarks: a watch in which nothing happens must end before it
        # counts as dead.
        longest = self._timing.longest if self._is_history_wanted else self._timing.quiet * 0.9
        query = {
            **self._query,
            "watch": "1",
            "allowWatchBookmarks": "1",
            "resourceVersion": self._version,
            "timeoutSeconds": str(max(round(_RANDOM.uniform(longest * 0.8, longest)), 1)),
        }
        async with self._api.stream(self._path, read_seconds=self._timing.quiet, **query) as chunks:
            self._works()
            async for line in _lines(chunks):
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            change = msgspec.json.decode(line, type=_Change)
        except msgspec.DecodeError as error:
            raise EngineUnavailable(f"a watch brought what is no event: {error}") from None
        content = bytes(change.object)
        if change.type == "ERROR":
            raise error_of_event(content)
        if change.type == "BOOKMARK":
            self._version = msgspec.json.decode(content, type=_Versioned).metadata.resource_version
            return
        if (object_ := self._decode(change.object)) is None:
            return
        if change.type == "DELETED":
            self._forget(object_)
        else:
            self._tell(object_)
        self._version = object_.metadata.resource_version

    def _decode(self, content: msgspec.Raw) -> T | None:
        """The object; None if it cannot be understood: it must not keep all others from being told."""
        try:
            return msgspec.json.decode(content, type=self._kind)
        except msgspec.DecodeError as error:
            logger.error("watching %s: what is no %s is left out: %s", self._path, self._kind.__name__, error)
            return None

    def _tell(self, object_: T) -> None:
        if self._is_history_wanted:
            self._known[object_.metadata.uid] = object_
        self._seen(object_)

    def _forget(self, object_: T) -> None:
        self._known.pop(object_.metadata.uid, None)
        self._gone(object_)


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = bytearray()
    async for chunk in chunks:
        rest += chunk
        *lines, last = rest.split(b"\n")
        for line in lines:
            if line:
                yield bytes(line)
        rest = last
        if len(rest) > MAX_LINE_BYTES:
            raise EngineUnavailable(f"an event of a watch is longer than {MAX_LINE_BYTES:,} bytes")
