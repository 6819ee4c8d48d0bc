"""Reading one's own writes: a server answers once it knows what the caller knows from another one."""

import asyncio
from contextlib import suppress

from kusciajob.contracts import JobStore
from kusciajob.model.errors import InvalidJob, Problem, StoreFailed

PATIENCE_SECONDS = 5.0
"""How long a call waits for a revision."""


async def reached(store: JobStore, revision: int) -> None:
    """Return once the store shows what was committed up to that revision.

    Raises InvalidJob if it is none; StoreFailed if it does not come in PATIENCE_SECONDS.
    """
    if revision < 0:
        text = f"min_revision {revision} is below 0: it is a revision that was told, or 0"
        raise InvalidJob(text, problems=[Problem("min_revision", text)])
    if not revision:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await store.head() < revision:
                await store.wait_log(revision - 1)
            return
    raise StoreFailed(
        f"min_revision {revision} is not known here yet, the newest is {await store.head()}: "
        "try again, and make sure that the server which told it has the same store"
    )
