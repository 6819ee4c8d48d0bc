"""Images: there, or pulled in the background, several workloads waiting for one pull."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from aiodocker.exceptions import DockerError
from msgspec import Struct

from kusciajob.runtime.container.connection import NOT_FOUND, Connection, refusal
from kusciajob.runtime.hosted.engine import EngineUnavailable

KNOWN_SECONDS = 10.0
PATIENCE_SECONDS = 2.0
"""How long one request waits for a pull before it tells about it."""
FIRST_PAUSE_SECONDS = 5.0
LAST_PAUSE_SECONDS = 60.0
"""How long after a failure an image is pulled again; each pause is twice the one before."""
_ABSENT = ("not found", "manifest unknown", "does not exist", "no such image", "unauthorized", "denied")


class Image(Struct, frozen=True):
    """What an image says of itself. `user` is empty for root."""

    id: str
    user: str = ""


class Images:
    """The images of one engine."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pulls: dict[str, _Pull] = {}
        self._known: dict[str, tuple[Image, float]] = {}
        """What was there, and until when it is not asked for again: tasks often come together."""

    def forget(self, reference: str) -> None:
        """Somebody has removed it."""
        self._known.pop(reference, None)

    async def get(self, reference: str) -> Image:
        """The image, pulled if it is not there. Raises EngineUnavailable with the reason as long as it is not there."""
        known, until = self._known.get(reference, (None, 0.0))
        if known is not None and time.monotonic() < until:
            return known
        image = await self._got(reference)
        self._known[reference] = image, time.monotonic() + KNOWN_SECONDS
        return image

    async def _got(self, reference: str) -> Image:
        pull = self._pulls.get(reference)
        if pull is None or not pull.is_busy:
            if (image := await self._inspect(reference)) is not None:
                self._pulls.pop(reference, None)
                return image
            if pull is None:
                pull = self._pulls[reference] = _Pull(self._connection, reference)
            pull.begin()
        if not await pull.succeeded():
            raise EngineUnavailable(pull.text)
        image = await self._inspect(reference)
        self._pulls.pop(reference, None)
        if image is None:
            raise EngineUnavailable(f"image {reference}: it was pulled, and is not there")
        return image

    async def _inspect(self, reference: str) -> Image | None:
        try:
            async with self._connection.asking() as docker:
                found: Mapping[str, Any] = await docker.images.inspect(reference)
        except DockerError as error:
            if error.status == NOT_FOUND:
                return None
            raise EngineUnavailable(f"image {reference}: {refusal(error)}") from None
        return Image(found["Id"], (found.get("Config") or {}).get("User") or "")

    async def close(self) -> None:
        """Wait for no pull any more; the engine may go on with it."""
        for pull in self._pulls.values():
            await pull.close()


class _Pull:
    """The pull of one image, tried again after a failure."""

    def __init__(self, connection: Connection, reference: str) -> None:
        self._connection = connection
        self._reference = reference
        self._task: asyncio.Task[None] | None = None
        self._began_at = 0.0
        self._failure = ""
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._again_at = 0.0

    @property
    def is_busy(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def text(self) -> str:
        """Why the image is not there. Its seconds are told ever more rarely: each new text is an event of the job."""
        if self._failure:
            return self._failure
        seconds = int(time.monotonic() - self._began_at)
        return f"pulling image {self._reference}" + (f" ({1 << seconds.bit_length() - 1} s)" if seconds > 3 else "")

    def begin(self) -> None:
        """Pull, unless the last try was just now."""
        now = time.monotonic()
        if not self.is_busy and now >= self._again_at:
            self._began_at = self._began_at or now
            self._task = asyncio.create_task(self._pull(), name=f"pull {self._reference}")

    async def succeeded(self) -> bool:
        """Whether the image has come; it waits a little for that."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=PATIENCE_SECONDS)
        return self._task is not None and self._task.done() and not self._failure

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _pull(self) -> None:
        try:
            self._failure = await self._ask()
        except EngineUnavailable as error:
            self._failure = str(error)
        if self._failure:
            self._again_at = time.monotonic() + self._pause_seconds
            self._pause_seconds = min(2 * self._pause_seconds, LAST_PAUSE_SECONDS)

    async def _ask(self) -> str:
        """Pull to the end; why it failed, or ""."""
        name, _, tag = self._reference.partition("@") if "@" in self._reference else _split(self._reference)
        try:
            async with self._connection.stream("POST", "images/create", {"fromImage": name, "tag": tag}) as lines:
                async for line in lines:
                    if (failure := _failure_in(line)) is not None:
                        return self._explain(failure)
        except DockerError as error:
            return self._explain(refusal(error))
        return ""

    def _explain(self, failure: str) -> str:
        is_absent = any(word in failure.lower() for word in _ABSENT) and "no such host" not in failure
        return f"image {self._reference}: {'not found in registry' if is_absent else 'cannot be pulled'}: {failure}"


class _Line(Struct):
    error: str = ""


def _failure_in(line: bytes) -> str | None:
    try:
        error = msgspec.json.decode(line, type=_Line).error
    except msgspec.MsgspecError:
        return None
    return " ".join(error.split()) or None


def _split(reference: str) -> tuple[str, str, str]:
    """Name and tag: a colon before the last slash is a port's."""
    name, colon, tag = reference.rpartition(":")
    return (name, colon, tag) if colon and "/" not in tag else (reference, "", "latest")
