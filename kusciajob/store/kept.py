"""What all stores keep beside a job and its status: when it is due for a sweep, and how much of its history stays."""

from collections.abc import Sequence

from msgspec.structs import replace

from kusciajob.model.history import MAX_HISTORY_ENTRIES, AuditEntry, HistoryEntry, HistoryEvent
from kusciajob.model.status import SCHEDULED, Ended, JobPhase, Unknown

HISTORY_SLACK = MAX_HISTORY_ENTRIES // 20
"""So many more are dropped than must be, that a long history is not looked through at every change."""
MAX_ATTEMPTS_BYTES = 4 << 20
"""What the attempts of one job may take; the oldest go first, but the newest stays."""


def deadline(phase: JobPhase, began_at: float, seconds: float | None) -> float | None:
    """When somebody must stop a job; None while the scheduler sees to that itself, and where there is no deadline."""
    if seconds is None or isinstance(phase, Ended | Unknown) or phase.state in SCHEDULED:
        return None
    return began_at + seconds


def expiry(phase: JobPhase, seconds: float | None) -> float | None:
    """When a job is to be deleted; None before its end, and where it is kept."""
    return None if seconds is None or phase.ended_at is None else phase.ended_at + seconds


def surplus(entries: Sequence[HistoryEntry]) -> list[int]:
    """The indexes of those entries to drop, in order; none as long as there are no more than MAX_HISTORY_ENTRIES.

    First goes the oldest progress, and what a later entry tells again of the same task and party; then the oldest of
    the rest, but `created`.
    """
    if len(entries) <= MAX_HISTORY_ENTRIES:
        return []
    minor: list[int] = []
    major: list[int] = []
    told_again: set[tuple[str, str, str, str]] = set()
    for index in range(len(entries) - 1, -1, -1):
        entry = entries[index]
        told = (entry.event, entry.alias, entry.domain_id, entry.role)
        if entry.event is HistoryEvent.CREATED:
            continue
        is_minor = entry.event is HistoryEvent.TASK_PROGRESSED or told in told_again
        (minor if is_minor else major).append(index)
        told_again.add(told)
    dropped = (minor[::-1] + major[::-1])[: len(entries) - MAX_HISTORY_ENTRIES + HISTORY_SLACK]
    return sorted(dropped)


def stamped(entry: HistoryEntry, revision: int) -> HistoryEntry:
    """The entry with the revision of its commit."""
    return replace(entry, revision=revision)


def is_wanted(
    entry: AuditEntry, *, before: int, caller: str, subject: str, since: float | None, until: float | None
) -> bool:
    """Whether a list of audit entries has this one; see JobStore.audit."""
    return (
        (not before or entry.id < before)
        and caller in ("", entry.caller)
        and subject in ("", entry.subject)
        and (since is None or entry.at >= since)
        and (until is None or entry.at < until)
    )
