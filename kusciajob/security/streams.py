"""Ends streams whose token or authority is withdrawn after they were opened."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from msgspec import Struct

from kusciajob.security.errors import Unauthenticated


class Credentials(Struct, frozen=True):
    """What a stream was opened with: whose token, its SHA-256, and the client's certificate as PEM, if it has one."""

    domain: str
    digest: bytes
    certificate: bytes = b""


class HeldStreams:
    """The streams that are open, by their credentials. `check` raises Unauthenticated for those that do not hold."""

    def __init__(self, check: Callable[[Credentials], None]) -> None:
        self._check = check
        self._open: dict[asyncio.Timeout, Credentials] = {}

    @asynccontextmanager
    async def hold(self, credentials: Credentials) -> AsyncIterator[None]:
        """Run a stream as the block: it is cancelled once its credentials are withdrawn. Raises Unauthenticated."""
        self._check(credentials)  # its request may have taken its time to come
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._open[scope] = credentials
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            self._check(credentials)
            raise Unauthenticated("what this stream was opened with was withdrawn for a time: open another") from None
        finally:
            self._open.pop(scope, None)

    def review(self) -> int:
        """End the streams whose credentials hold no longer; say how many."""
        ended = [scope for scope, credentials in self._open.items() if not self._holds(credentials)]
        for scope in ended:
            del self._open[scope]
            scope.reschedule(asyncio.get_running_loop().time())
        return len(ended)

    def _holds(self, credentials: Credentials) -> bool:
        try:
            self._check(credentials)
        except Unauthenticated:
            return False
        return True
