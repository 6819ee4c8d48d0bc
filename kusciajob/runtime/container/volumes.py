"""Where a domain's own data is, which its programs find in their domain directory."""

import asyncio
import os
from pathlib import Path

from kusciajob.contracts import StartFailed
from kusciajob.runtime.container.files import ROOT, User
from kusciajob.runtime.container.traits import Traits
from kusciajob.runtime.directories import directory_name
from kusciajob.runtime.domains import DomainSettings

PREFIX = "kusciajob-"
"""What the names of volumes on another machine begin with."""


class Volumes:
    """A directory of this machine for each domain; on another machine's engine, a volume."""

    def __init__(self, domains: Path, *, is_local: bool) -> None:
        self._domains = domains.absolute()
        self._is_local = is_local

    async def source(self, domain: DomainSettings, user: User, traits: Traits) -> str:
        """The directory or volume of a domain. A directory that is missing is made, for that user. Raises StartFailed.

        A directory that is there belongs to whom the operator has given it.
        """
        if domain.data_volume and not domain.data_volume.startswith("/"):
            return domain.data_volume
        if not self._is_local:
            return domain.data_volume or PREFIX + directory_name(domain.domain_id).replace("%", "_").replace("=", "_")
        directory = Path(domain.data_volume or self._domains / directory_name(domain.domain_id))
        if ":" in str(directory):
            raise StartFailed("the domain's directory has a colon in its path, which container engines do not take")
        try:
            await asyncio.to_thread(_make, directory, user, traits)
        except OSError as error:
            raise StartFailed(
                f"the domain's directory cannot be made: {error.strerror}", detail=str(directory)
            ) from None
        return str(directory)


def _make(directory: Path, user: User, traits: Traits) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        return
    if os.geteuid() == ROOT and not traits.is_rootless:
        os.chown(directory, user.uid, user.gid)
