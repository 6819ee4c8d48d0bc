"""The connection to the engine: where it listens, how it is asked, and what its failures mean.

aiodocker asks what has one answer. Streams are read from its session: its own readers end silently when a connection
is cut, decode output as text, and do not tell stdout from stderr.
"""

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiodocker
import aiohttp
import msgspec
from aiodocker.exceptions import DockerError

from kusciajob.model.errors import JobError
from kusciajob.runtime.hosted.engine import EngineUnavailable

logger = logging.getLogger(__name__)

API_VERSION = (1, 41)
"""Podman's since 4.0, Docker's since 20.10."""
CALL_SECONDS = 60.0
"""How long the engine may take for an answer that it has at once."""
CONNECT_SECONDS = 10.0
MAX_CALLS = 8
"""So many calls are under way at once; each is heavy work for the engine."""
UNREACHED = "the container engine cannot be reached"
"""Without the cause: that changes from one try to the next, and each new text is an event of the job."""
MAX_TEXT = 300
"""Characters of an engine's error that are shown."""
_UNREACHED = 900
"""aiodocker's status of a call that has not reached the engine."""
FORBIDDEN = 403
NOT_FOUND = 404
NOT_MODIFIED = 304
CONFLICT = 409


class NoEngine(JobError):
    """There is no engine to connect to; the text says where one was looked for."""


def find_address(environment: Mapping[str, str]) -> str:
    """DOCKER_HOST, else the socket of Podman or of Docker that is there. Raises NoEngine."""
    if address := environment.get("DOCKER_HOST"):
        return address
    own = environment.get("XDG_RUNTIME_DIR", "")
    places = ["/run/podman/podman.sock"] if os.geteuid() == 0 else []
    places += [f"{own}/podman/podman.sock"] if own else []
    places += ["/run/docker.sock", "/var/run/docker.sock"]
    places += [f"{own}/docker.sock"] if own else []
    for place in places:
        if Path(place).is_socket():
            return f"unix://{place}"
    raise NoEngine(
        f"no container engine was found at {', '.join(places)}: start one, such as with "
        "`systemctl enable --now podman.socket`, or set DOCKER_HOST"
    )


class Connection:
    """Asks one engine. Every call raises EngineUnavailable if the engine cannot be reached, or does not answer."""

    def __init__(self, address: str, environment: Mapping[str, str]) -> None:
        self.address = address
        self._environment = environment
        self._docker: aiodocker.Docker | None = None
        self._slots = asyncio.Semaphore(MAX_CALLS)
        self._connecting = asyncio.Lock()

    @property
    def is_local(self) -> bool:
        """Whether the engine has this machine's file system."""
        return self.address.startswith("unix://")

    @asynccontextmanager
    async def asking(self, seconds: float = CALL_SECONDS) -> AsyncIterator[aiodocker.Docker]:
        """The client, for one call that takes at most that long. Raises DockerError if the engine refuses."""
        async with self._slots, self.waiting(seconds) as docker:
            yield docker

    @asynccontextmanager
    async def waiting(self, seconds: float) -> AsyncIterator[aiodocker.Docker]:
        """The same for a call by which the engine only waits: others need not wait for it."""
        async with self._translating(seconds):
            yield await self._connected()

    @asynccontextmanager
    async def stream(self, method: str, path: str, params: Mapping[str, str]) -> AsyncIterator[aiohttp.StreamReader]:
        """An answer without end. Raises DockerError if the engine refuses."""
        async with self._translating(None):
            docker = await self._connected()
            url = f"{docker.docker_host}/{docker.api_version}/{path}"
            timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS)
            async with docker.session.request(method, url, params=params, timeout=timeout) as answer:
                if answer.status >= 400:
                    raise DockerError(answer.status, _message(await answer.read()))
                yield answer.content

    async def ping(self, seconds: float) -> None:
        """Return once the engine has answered."""
        async with self._translating(seconds):
            docker = await self._connected()
            async with docker.session.get(f"{docker.docker_host}/_ping") as answer:
                await answer.read()

    def complain(self, error: EngineUnavailable) -> None:
        """Tell the operator that the engine cannot be asked."""
        cause = f" ({error.__cause__!r})" if error.__cause__ else ""
        logger.error("%s at %s: it is tried again and again%s", error, self.address, cause)

    async def close(self) -> None:
        """Cut what is under way."""
        if self._docker is not None:
            connector = self._docker.connector
            await self._docker.session.close()
            await connector.close()

    async def _connected(self) -> aiodocker.Docker:
        async with self._connecting:
            if self._docker is None:
                self._docker = await self._connect()
            return self._docker

    async def _connect(self) -> aiodocker.Docker:
        address, connector = _connector(self.address, self._environment)
        session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS)
        )
        docker = aiodocker.Docker(url=address, connector=connector, session=session)
        if self.is_local:
            docker.docker_host = "unix://localhost"  # as in URLs: the connector knows the socket
        try:
            async with session.get(f"{docker.docker_host}/version") as answer:
                version = msgspec.json.decode(await answer.read(), type=_Version)
        except msgspec.MsgspecError as error:
            await session.close()
            raise EngineUnavailable(f"{self.address} does not answer as a container engine does: {error}") from None
        except BaseException:
            await session.close()
            raise
        docker.api_version = f"v{version.chosen}"
        return docker

    @asynccontextmanager
    async def _translating(self, seconds: float | None) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except DockerError as error:
            if error.status != _UNREACHED:
                raise
            raise EngineUnavailable(UNREACHED) from error
        except TimeoutError as error:
            raise EngineUnavailable("the container engine does not answer in time") from error
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise EngineUnavailable(UNREACHED) from error


class _Version(msgspec.Struct):
    ApiVersion: str
    MinAPIVersion: str = "0.0"

    @property
    def chosen(self) -> str:
        """Our version of the API, where the engine still has it; else the oldest that it has."""
        least = tuple(map(int, self.MinAPIVersion.split(".")))
        newest = tuple(map(int, self.ApiVersion.split(".")))
        return ".".join(map(str, min(max(API_VERSION, least), newest)))


def is_gone(error: DockerError) -> bool:
    """Whether what was asked for does not exist. Podman answers 500 for what is being removed at the moment."""
    return error.status == NOT_FOUND or "no such container" in str(error.message).lower()


def refusal(error: DockerError) -> str:
    """What the engine says, in one line that is not too long."""
    text = " ".join(str(error.message).split())
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


async def ignoring(call: Awaitable[Any], *statuses: int, gone: bool = False) -> None:
    """Await the call; a refusal with one of these statuses is success; `gone`: and one for want of the container."""
    try:
        await call
    except DockerError as error:
        if error.status not in statuses and not (gone and is_gone(error)):
            raise


def _message(body: bytes) -> str:
    try:
        content = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return body.decode(errors="replace")
    return str(content.get("message", content)) if isinstance(content, dict) else str(content)


def _connector(address: str, environment: Mapping[str, str]) -> tuple[str, aiohttp.BaseConnector]:
    """The address as aiodocker takes it, and a connector that has no limit: each running container's log needs one."""
    scheme, _, rest = address.partition("://")
    if scheme == "unix":
        return address, aiohttp.UnixConnector(rest, limit=0)
    if scheme in ("tcp", "http", "https"):
        if scheme == "https" or environment.get("DOCKER_TLS_VERIFY"):
            return f"https://{rest}", aiohttp.TCPConnector(limit=0, ssl=_tls(environment))
        return f"http://{rest}", aiohttp.TCPConnector(limit=0)
    raise NoEngine(f"DOCKER_HOST is {address!r}: it must begin with unix://, tcp:// or https://")


def _tls(environment: Mapping[str, str]) -> ssl.SSLContext:
    """What the docker command uses: certificates from DOCKER_CERT_PATH."""
    directory = Path(environment.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    try:
        context = ssl.create_default_context(cafile=str(directory / "ca.pem"))
        context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    except OSError as error:
        raise NoEngine(f"certificates of DOCKER_CERT_PATH cannot be used: {error}") from None
    return context
