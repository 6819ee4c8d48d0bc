"""Where to look after `run`: the parties' directories, the logs, or that nothing is kept."""

import os
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.config import Settings

MAX_LOOKED_AT = 10_000
"""Files of one domain. One that has more counts as having new ones."""
MAX_NAMED = 4
CLOCK_SECONDS = 1.0
"""How far the clock of a file system may be behind."""


class Outputs(Struct, frozen=True):
    """What a job has left."""

    directories: tuple[Path, ...]
    """Those of its parties in which files were written."""
    text: str
    """The same in words."""


def find(job: pb.JobStatus, settings: Settings, *, since: float) -> Outputs:
    """What was written in the directories of the job's parties since that time, in seconds since 1970."""
    domains = sorted({party.domain_id for task in job.status.tasks for party in task.parties})
    if settings.runtime == "kubernetes":
        return Outputs((), "what the programs wrote is in the volumes of their domains")
    directories = [settings.domains / domain for domain in domains]
    written = tuple(directory for directory in directories if _has_new_files(directory, since - CLOCK_SECONDS))
    if not written:
        return Outputs((), "the programs wrote no files in their parties' directories")
    more = f" and {len(written) - MAX_NAMED} more beside them" if len(written) > MAX_NAMED else ""
    return Outputs(written, f"outputs are in {', '.join(map(str, written[:MAX_NAMED]))}{more}")


def logs(directory: Path) -> list[Path]:
    """Where a data directory has logs: of the programs, if any ran, and of the server."""
    return [place for name in ("runs", "server.log") if (place := directory / name).exists()]


def _has_new_files(directory: Path, since: float) -> bool:
    looked_at = 0
    for place, _, names in os.walk(directory):
        for name in names:
            looked_at += 1
            with suppress(OSError):  # it has gone, or it is not ours to look at
                if looked_at > MAX_LOOKED_AT or os.lstat(Path(place, name)).st_mtime >= since:
                    return True
    return False
