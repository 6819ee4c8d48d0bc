"""What a server needs beyond its own parts when it shares its store with others. It needs the extra `postgres`."""

import asyncio
import logging
import os
import socket
from typing import Self

from kusciajob.config import Settings
from kusciajob.contracts import PartyKey, ProgressReport
from kusciajob.model.errors import StoreFailed
from kusciajob.operations import datadir
from kusciajob.security.progress import ProgressSecrets
from kusciajob.store.postgres.committer import CommitReport
from kusciajob.store.postgres.lease import PostgresLeases
from kusciajob.store.postgres.store import PostgresStore
from kusciajob.usecases.app_images import AppImageService

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


class Sharing:
    """The shared store, the lease of the one server that schedules, and what servers tell each other through it."""

    def __init__(self, store: PostgresStore, settings: Settings) -> None:
        """Programs on this machine, and containers, can be led from here only. Raises DataDirectoryError."""
        is_bound = settings.runtime in ("process", "container")
        home = datadir.server_id(settings.data_dir) if is_bound else ""
        self.store = store
        self.leases = PostgresLeases(store, server=f"{socket.gethostname()}, process {os.getpid()}", home=home)
        self._passing: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, settings: Settings, *, on_commit: CommitReport) -> Self:
        """Reach the database of the settings. Raises StoreFailed, DataDirectoryError."""
        store = await PostgresStore.open(
            settings.store,
            password_file=settings.store_password_file,
            may_migrate=settings.migrate_at_start,
            on_commit=on_commit,
        )
        try:
            return cls(store, settings)
        except BaseException:
            await store.close()
            raise

    @property
    def progress_secrets(self) -> ProgressSecrets:
        """The same for all servers: any of them may be the one that a program reaches."""
        return ProgressSecrets(self.store.progress_key)

    def on_progress(self, report: ProgressReport) -> None:
        """Call `report` with what other servers pass on."""
        self.store.tail.on_progress = report

    def pass_progress(self, key: PartyKey, progress: float) -> None:
        """Pass on what a program has reported here to the server that schedules."""
        passing = asyncio.create_task(self._pass_progress(key, progress), name="progress")
        self._passing.add(passing)
        passing.add_done_callback(self._passing.discard)

    async def _pass_progress(self, key: PartyKey, progress: float) -> None:
        try:
            await self.store.pass_progress(key, progress)
        except StoreFailed as error:
            logger.debug("a program's progress is lost, its next report follows: %s", error)

    async def follow_app_images(self, app_images: AppImageService) -> None:
        """Take in what other servers change of AppImages, for ever."""
        changed = self.store.tail.images_changed
        while True:
            await changed.wait()
            changed.clear()
            try:
                await app_images.renew()
            except StoreFailed as error:
                logger.warning("AppImages of other servers are not read, trying again: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
                changed.set()
