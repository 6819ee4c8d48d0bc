"""The use cases of AppImages: those of files and of the API are one catalogue, and only the latter can be changed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from kusciajob.contracts import Clock, JobStore
from kusciajob.images.catalog import AppImageCatalog
from kusciajob.images.definition import Definition
from kusciajob.model.errors import (
    AppImageExists,
    AppImageInFile,
    AppImageNotFound,
    InvalidAppImage,
    TooManyAppImages,
    UnknownAppImage,
)
from kusciajob.model.history import AuditEntry, Notes
from kusciajob.model.text import listed, shown
from kusciajob.telemetry.request import present
from kusciajob.usecases.callers import Caller

MAX_APP_IMAGES = 1000
"""So many can be created through the API."""
MAX_APP_IMAGES_BYTES = 32 << 20
"""What they may take as JSON in all: they are kept in memory."""
LARGE_BYTES = 64 << 10
"""What is larger is read on a thread."""

_CHANGE_FILE = "change or remove that file"

_log = logging.getLogger(__name__)


class AppImageService:
    """Create, update, delete and query AppImages on behalf of a caller. Errors are the model's.

    What is acknowledged is stored, and in force for tasks that start from then on. Only the master may change
    AppImages; every caller may query them.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        catalog: AppImageCatalog,
        clock: Clock,
        version: Callable[[], Awaitable[int]] | None = None,
    ) -> None:
        """`version` counts the changes in the store; None where nobody else makes any."""
        self._store = store
        self._catalog = catalog
        self._clock = clock
        self._version = version
        self._known = -1
        self._asked = self._answered = 0
        """How often somebody wanted to know of changes, and up to which of these that was looked up."""
        self._changing = asyncio.Lock()

    async def renew(self) -> None:
        """Take in what other servers have changed. Raises StoreFailed.

        One look at the store serves all who came before it: thousands of tasks may want one at a time.
        """
        if self._version is None:
            return
        self._asked += 1
        mine = self._asked
        async with self._changing:
            if self._answered < mine:
                asked = self._asked
                await self._take_in(self._version)
                self._answered = asked

    async def _take_in(self, version: Callable[[], Awaitable[int]]) -> None:
        if (newest := await version()) != self._known:
            self._catalog.restore(await self._store.app_images())
            self._known = newest

    def check_rights(self, name: str, caller: Caller) -> None:
        """Raise NotAllowed unless the caller may change AppImages, and InvalidAppImage without a name."""
        if caller.domain:
            caller.refuse(f"change AppImage {shown(name)}: only the master may")
        _require(name, "name")

    async def create(self, name: str, spec: Mapping[str, Any], caller: Caller, *, size: int) -> None:
        """Store a new AppImage of that `spec`, of about so many bytes.

        Raises NotAllowed, InvalidAppImage, AppImageExists, TooManyAppImages.
        """

        def decide() -> dict[str, Any]:
            if file := self._catalog.file_of(name):
                raise AppImageExists(f"AppImage {shown(name)} already exists, in the file {file}: {_CHANGE_FILE}")
            if name in self._catalog.created:
                raise AppImageExists(f"AppImage {shown(name)} already exists: update it, or delete it first")
            return dict(spec)

        await self._change("CreateAppImage", name, caller, decide, size=size)

    async def update(self, name: str, spec: Mapping[str, Any], caller: Caller, *, size: int) -> None:
        """Replace the parts of the AppImage's `spec` that are given.

        Raises NotAllowed, InvalidAppImage, AppImageNotFound, AppImageInFile, TooManyAppImages.
        """

        def decide() -> dict[str, Any]:
            earlier = self._changeable(name)
            return {**(earlier.document["spec"] if earlier else {}), **spec}

        await self._change("UpdateAppImage", name, caller, decide, size=size)

    async def delete(self, name: str, caller: Caller) -> None:
        """Remove an AppImage of the API. Raises NotAllowed, AppImageNotFound, AppImageInFile."""

        def decide() -> None:
            self._changeable(name)

        await self._change("DeleteAppImage", name, caller, decide)

    def get(self, name: str) -> Definition:
        """The AppImage of that name. Raises AppImageNotFound."""
        _require(name, "name")
        try:
            return self._catalog.definition(name)
        except UnknownAppImage as error:
            raise AppImageNotFound(str(error)) from None

    def get_all(self, names: Sequence[str]) -> list[Definition]:
        """Those of that names, in that order. Raises AppImageNotFound, which names all that there are not."""
        if not names:
            raise InvalidAppImage("names is empty: at least one name is required")
        for index, name in enumerate(names):
            _require(name, f"names[{index}]")
        known = self._catalog.definitions()
        unknown = [name for name in dict.fromkeys(names) if name not in known]
        if len(unknown) == 1:
            self.get(*unknown)
        if unknown:
            raise AppImageNotFound(f"AppImages {listed([shown(name) for name in unknown])} not found")
        return [known[name] for name in names]

    def after(self, name: str) -> list[Definition]:
        """All whose names come after that one, in their order."""
        known = self._catalog.definitions()
        return [known[other] for other in sorted(known) if other > name]

    def _changeable(self, name: str) -> Definition | None:
        """The AppImage of the API; None where its record cannot be used. Raises AppImageNotFound, AppImageInFile."""
        if file := self._catalog.file_of(name):
            raise AppImageInFile(f"AppImage {shown(name)} comes from the file {file}: {_CHANGE_FILE}")
        if name not in self._catalog.created:
            self.get(name)  # raises
            raise AppImageNotFound(f"AppImage {shown(name)} not found")
        return self._catalog.created[name]

    async def _change(
        self, method: str, name: str, caller: Caller, decide: Callable[[], dict[str, Any] | None], *, size: int = 0
    ) -> None:
        """Commit what `decide` makes of the AppImage: its `spec`, or None for no AppImage."""
        self.check_rights(name, caller)
        # What is committed must be in force, also when the caller leaves meanwhile.
        await asyncio.shield(asyncio.create_task(self._commit(method, name, caller, decide, size=size)))

    async def _commit(
        self, method: str, name: str, caller: Caller, decide: Callable[[], dict[str, Any] | None], *, size: int
    ) -> None:
        async with self._changing:
            if self._version is not None:
                await self._take_in(self._version)
            definition = None
            if (spec := decide()) is not None:
                earlier = self._catalog.created.get(name)
                is_large = size + (len(earlier.stored) if earlier else 0) > LARGE_BYTES
                define = partial(self._catalog.define, name, spec)
                definition = await asyncio.to_thread(define) if is_large else define()
                self._check_room(definition)
            audit = AuditEntry(self._clock.now(), caller.name, present().peer, method, name)
            stored = definition.stored if definition else None
            await self._store.put_app_image(name, stored, notes=Notes(audit=audit))
            if definition is not None:
                self._catalog.put(definition)
            else:
                self._catalog.remove(name)
        _log.info("AppImage %s: %s by %s", name, method, caller.name)

    def _check_room(self, definition: Definition) -> None:
        """Raise TooManyAppImages if there is no room for one more, or for a larger one in place of its like."""
        others = [made for name, made in self._catalog.created.items() if name != definition.image.name]
        if len(others) >= MAX_APP_IMAGES:
            raise TooManyAppImages(
                f"{len(others):,} AppImages were created through the API, and no more are possible: delete some first"
            )
        taken = sum(len(made.stored) for made in others if made is not None)
        if taken + len(definition.stored) > MAX_APP_IMAGES_BYTES:
            raise TooManyAppImages(
                f"the AppImages of the API take {taken:,} bytes, this one {len(definition.stored):,}: at most "
                f"{MAX_APP_IMAGES_BYTES:,} are possible in all; delete some first"
            )


def _require(name: str, field: str) -> None:
    if not name:
        raise InvalidAppImage(f"{field} is empty: it must name an AppImage")
