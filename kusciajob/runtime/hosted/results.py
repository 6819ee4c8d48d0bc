"""Tells how a run ended from what its engine has seen last."""

from kusciajob.contracts import ExitResult
from kusciajob.runtime import exit_texts
from kusciajob.runtime.hosted.engine import Phase, Sighting
from kusciajob.runtime.hosted.kept import KeptRun


def judge(sighting: Sighting, kept: KeptRun) -> ExitResult:
    """The result of a run that has ended or is gone. It reads the kept output, and blocks."""
    if sighting.phase is Phase.GONE:
        return ExitResult(succeeded=False, message=f"lost: {sighting.text}", is_fault=True)
    code = sighting.exit_code
    if code == 0 and not sighting.text:
        return ExitResult(succeeded=True, exit_code=0, ended_at=sighting.ended_at)
    text = sighting.text or ("failed without an exit code" if code is None else exit_texts.of_code(code))
    return ExitResult(
        succeeded=False,
        message=text + exit_texts.after_restarts(sighting.restarts),
        is_fault=sighting.is_fault,
        detail=kept.tail(),
        exit_code=code,
        ended_at=sighting.ended_at,
    )
