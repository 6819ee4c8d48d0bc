"""Puts a program's files into its container before that is started, which works for an engine on any machine.

They are copies in the container: root owns those that everybody may read, the program's user the secret ones.
"""

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from aiodocker.exceptions import DockerError
from msgspec import Struct

from kusciajob.contracts import StartFailed
from kusciajob.runtime.container.connection import NOT_FOUND, Connection, refusal
from kusciajob.runtime.hosted.engine import EngineUnavailable, Program

MAX_BYTES = 16 * 1024 * 1024
"""Of all files of one program."""
MAX_PASSWD_BYTES = 1 << 20
LEAST_FIELDS = 4
"""Of a line of /etc/group; one of /etc/passwd has more."""
END_BLOCKS = 2
SERVER_ERROR = 500
ROOT = 0


class User(Struct, frozen=True):
    """Whom a program runs as, in its container."""

    uid: int
    gid: int


def numeric_user(text: str) -> User | None:
    """The user of UID[:GID], or of "", which is root; None if the text has names."""
    name, _, group = text.partition(":")
    if not name:
        return User(ROOT, ROOT)
    if name.isdecimal() and (group.isdecimal() or not group):
        return User(int(name), int(group or name))
    return None


async def named_user(connection: Connection, container: str, text: str) -> User:
    """The user that a text with names means in a container. Raises StartFailed."""
    name, _, group = text.partition(":")
    for fields in await _lines(connection, container, "/etc/passwd"):
        if name in (fields[0], fields[2]):
            return User(int(fields[2]), await _group(connection, container, group or fields[3]))
    raise StartFailed(f"its image runs as user {name!r}, whom its /etc/passwd does not have")


async def _group(connection: Connection, container: str, text: str) -> int:
    if text.isdecimal():
        return int(text)
    for fields in await _lines(connection, container, "/etc/group"):
        if fields[0] == text:
            return int(fields[2])
    raise StartFailed(f"its image runs in group {text!r}, which its /etc/group does not have")


async def _lines(connection: Connection, container: str, path: str) -> list[list[str]]:
    """The lines of a file of colons; none if there is no such file."""
    try:
        async with connection.asking() as docker:
            archive = await docker.containers.container(container).get_archive(path)
    except DockerError as error:
        if error.status == NOT_FOUND:
            return []
        raise StartFailed(f"{path} of its image cannot be read: {refusal(error)}") from None
    for member in archive:
        if member.isfile() and (file := archive.extractfile(member)):
            text = file.read(MAX_PASSWD_BYTES).decode(errors="replace")
            lines = (line.split(":") for line in text.splitlines())
            return [fields for fields in lines if len(fields) >= LEAST_FIELDS and fields[2].isdecimal()]
    return []


class Files:
    """Puts files into containers, and remembers which directories images have: each look mounts a container."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._has: dict[tuple[str, str], bool] = {}
        """By the image's id and the directory's path."""

    async def put(self, container: str, image: str, program: Program, user: User) -> None:
        """Put the files at their absolute paths, with the directories that are missing. Raises StartFailed."""
        files, secret_files = program.files, program.secret_files
        if not files and not secret_files:
            return
        size = sum(map(len, (*files.values(), *secret_files.values())))
        if size > MAX_BYTES:
            raise StartFailed(f"its files have {size} bytes: at most {MAX_BYTES} can be put into a container")
        packed = pack(await self._missing(container, image, (*files, *secret_files)), files, secret_files, user)
        try:
            async with self._connection.asking() as docker:
                await docker.containers.container(container).put_archive("/", packed)
        except DockerError as error:
            if error.status >= SERVER_ERROR:
                raise EngineUnavailable(f"its files are not put into its container yet: {refusal(error)}") from None
            raise StartFailed(f"its files cannot be put into its container: {refusal(error)}") from None

    async def _missing(self, container: str, image: str, paths: Iterable[str]) -> list[str]:
        """The directories that the paths need and the image lacks, outer ones first.

        Those that it has are left out of the archive, which would change their owner and mode.
        """
        missing: list[str] = []
        known = {PurePosixPath("/")}
        for path in paths:
            for directory in reversed(PurePosixPath(path).parents):
                if directory in known:
                    continue
                known.add(directory)
                if str(directory.parent) in missing or not await self._exists(container, image, str(directory)):
                    missing.append(str(directory))
        return missing

    async def _exists(self, container: str, image: str, path: str) -> bool:
        if (image, path) not in self._has:
            async with self._connection.asking() as docker:
                url = f"{docker.docker_host}/{docker.api_version}/containers/{container}/archive"
                async with docker.session.head(url, params={"path": path}) as answer:
                    self._has[image, path] = answer.status != NOT_FOUND
        return self._has[image, path]


def pack(
    directories: Iterable[str], files: Mapping[str, bytes], secret_files: Mapping[str, bytes], user: User
) -> bytes:
    """The archive of these files.

    It has nothing after its end, where tar pads: Podman fails where it is still being sent what its reader has left.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for directory in directories:
            entry = _entry(directory, 0o755)
            entry.type = tarfile.DIRTYPE
            archive.addfile(entry)
        for path, content in files.items():
            archive.addfile(_entry(path, 0o444, len(content)), io.BytesIO(content))
        for path, content in secret_files.items():
            entry = _entry(path, 0o400, len(content))
            entry.uid, entry.gid = user.uid, user.gid
            archive.addfile(entry, io.BytesIO(content))
        end = archive.offset + END_BLOCKS * tarfile.BLOCKSIZE
    return packed.getvalue()[:end]


def _entry(path: str, mode: int, size: int = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.mode, entry.size = mode, size
    return entry
