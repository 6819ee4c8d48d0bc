"""Keeps what callers wanted to change and were refused, for the audit. What is accepted is noted with its change."""

import logging

from kusciajob.contracts import Clock, JobStore
from kusciajob.model.errors import StoreFailed
from kusciajob.model.history import AuditEntry
from kusciajob.model.text import cut
from kusciajob.telemetry.request import present
from kusciajob.usecases.callers import Caller

MAX_SUBJECT_CHARACTERS = 253
MAX_REASON_CHARACTERS = 1024

logger = logging.getLogger(__name__)


class RefusalLog:
    """Notes refused calls in the store."""

    def __init__(self, *, store: JobStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def note(self, method: str, subject: str, caller: Caller, *, code: int, reason: str) -> None:
        """Return once the refusal is stored; a store that fails is logged, for the caller is to be answered.

        `subject` is the id of the job, or the name of the AppImage.
        """
        if self._store.failing.is_set():  # where packets vanish, it would take half a minute to learn that again
            logger.warning("a refused %s of %s is not noted: the job store cannot commit", method, caller.name)
            return
        entry = AuditEntry(
            self._clock.now(),
            caller.name,
            present().peer,
            method,
            cut(subject, MAX_SUBJECT_CHARACTERS),
            code,
            cut(reason, MAX_REASON_CHARACTERS),
        )
        try:
            await self._store.note(entry)
        except StoreFailed as error:
            logger.warning("a refused %s of %s is not noted: %s", method, caller.name, error)
