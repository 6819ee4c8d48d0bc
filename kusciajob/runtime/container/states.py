"""What the states of a workload's containers mean together."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct

from kusciajob.contracts import Node
from kusciajob.runtime.container.labels import Place, place_of
from kusciajob.runtime.exit_texts import SIGNALLED
from kusciajob.runtime.hosted.engine import Phase, Ref, Sighting, nanoseconds

CREATED = "created"
KILLED = SIGNALLED + 9
RESTART_SECONDS = 60.0
"""An engine starts a failed container again within this time, or not at all."""
_NEVER = "0001-01-01"


class Seen(Struct, frozen=True):
    """One container as the engine has shown it. Times are in seconds since the epoch."""

    id: str
    place: Place
    status: str
    exit_code: int = 0
    is_oom: bool = False
    error: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    restarts: int = 0

    @property
    def is_created(self) -> bool:
        """Whether it has never run."""
        return self.status in ("created", "initialized", "configured") and self.started_at is None

    @property
    def was_reset(self) -> bool:
        """Whether it has run, and the engine has lost all it knew of it: so Podman does when its machine restarts."""
        return self.status in ("created", "initialized", "configured") and self.started_at is not None

    @property
    def is_exited(self) -> bool:
        return self.status in ("exited", "dead", "stopped")

    def will_restart(self, now: float) -> bool:
        """Whether the engine is going to start it again."""
        has_failed = self.is_exited and self.exit_code != 0 and self.restarts < self.place.max_restarts
        return has_failed and now - (self.ended_at or now) < RESTART_SECONDS


def read(inspected: Mapping[str, Any]) -> Seen | None:
    """What an inspected container is; None if it is not ours."""
    place = place_of((inspected.get("Config") or {}).get("Labels") or {})
    if place is None:
        return None
    state = inspected["State"]
    return Seen(
        id=inspected["Id"],
        place=place,
        status=state.get("Status") or "",
        exit_code=int(state.get("ExitCode") or 0),
        is_oom=bool(state.get("OOMKilled")),
        error=" ".join((state.get("Error") or "").split()),
        started_at=seconds_of(state.get("StartedAt") or ""),
        ended_at=seconds_of(state.get("FinishedAt") or ""),
        restarts=int(inspected.get("RestartCount") or 0),
    )


def are_over(containers: Sequence[Seen], ordered: Collection[str]) -> bool:
    """Whether nothing runs any more, nor will again. `ordered`: see `judge`."""
    return all(each.is_created or _is_final(each, ordered, time.time()) for each in containers)


def _is_final(container: Seen, ordered: Collection[str], now: float) -> bool:
    return container.is_exited and (container.id in ordered or not container.will_restart(now))


def seconds_of(time: str) -> float | None:
    """An RFC 3339 time as seconds since the epoch; None for the one that means never."""
    return None if time.startswith(_NEVER) else nanoseconds(time) / 10**9 or None


class Verdict(Struct, frozen=True):
    """What is seen of a workload, and which of its containers must end because another has failed."""

    sighting: Sighting
    to_end: tuple[str, ...] = ()


def judge(
    ref: Ref,
    containers: Sequence[Seen],
    *,
    node: Node,
    now: float,
    ordered: Collection[str],
    guesses_oom: bool,
) -> Verdict:
    """All containers of one workload, together. `ordered`: those whose end somebody has asked for.

    `guesses_oom`: the engine does not tell whom the memory limit has killed. Then that is what a SIGKILL means which
    nobody has ordered: no program in a container can send it to the container's first process.
    """
    count = containers[0].place.count
    if any(container.was_reset for container in containers):
        return Verdict(Sighting(ref, Phase.GONE, "its machine was started again while it ran"))
    if len(containers) < count or containers[0].is_created:
        return Verdict(Sighting(ref, Phase.WAITING))
    final = [each for each in containers if _is_final(each, ordered, now)]
    failed = sorted((each for each in final if each.exit_code != 0), key=lambda each: each.ended_at or 0)
    running = [each.id for each in containers if not each.is_exited and not each.is_created]
    if failed and running:
        return Verdict(Sighting(ref, Phase.RUNNING, node=node), tuple(running))
    # What was not started before the first one ended has no network to join any more, and never will.
    late = [each for each in containers if each.is_created] if containers[0] in final else []
    if len(final) + len(late) < count and not failed:
        return Verdict(Sighting(ref, Phase.RUNNING, node=node))
    last = failed[0] if failed else max(final, key=lambda each: each.ended_at or 0)
    return Verdict(
        Sighting(
            ref,
            Phase.ENDED,
            text=_text(last, is_alone=count == 1, guesses_oom=guesses_oom and last.id not in ordered),
            node=node,
            exit_code=last.exit_code,
            ended_at=last.ended_at,
            restarts=last.restarts,
        )
    )


def _text(ended: Seen, *, is_alone: bool, guesses_oom: bool) -> str:
    """How it ended if its exit code does not tell it all."""
    if not ended.exit_code:
        return ""
    text = ended.error
    limit = f"killed: memory limit {ended.place.memory}".rstrip()
    if ended.is_oom:
        text = limit if ended.place.memory else "killed: its machine has no memory left"
    elif guesses_oom and ended.exit_code == KILLED and ended.place.memory:
        text = f"{limit} (most likely: the container engine does not tell who sent SIGKILL)"
    if is_alone:
        return text
    return f"container {ended.place.program}: {text or f'exit code {ended.exit_code}'}"
