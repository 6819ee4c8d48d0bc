"""Which rows were found damaged: each is named once."""

import logging

from kusciajob.store.rows import Damage

logger = logging.getLogger(__name__)

MOST_NAMED = 100
"""So many are named in the log; `kusciajob doctor` names all."""
MOST_KNOWN = 100_000


class DamageLog:
    """Takes note of damaged rows and tells of each the first time it is met."""

    def __init__(self) -> None:
        self._known: set[tuple[str, int | str]] = set()

    @property
    def rows(self) -> int:
        """How many were met."""
        return len(self._known)

    def note(self, damage: Damage) -> None:
        """See rows.Note."""
        place = (damage.table, damage.key)
        if place in self._known or len(self._known) >= MOST_KNOWN:
            return
        self._known.add(place)
        if len(self._known) <= MOST_NAMED:
            logger.error("damaged, and left out: %s; `kusciajob doctor --repair` sets it aside", damage)
        elif len(self._known) == MOST_NAMED + 1:
            logger.error("more damaged rows are not named here: `kusciajob doctor` names all")
