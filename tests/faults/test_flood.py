"""A program prints a gigabyte: its end is kept, the disk is not filled, and everybody else is served meanwhile."""

from pathlib import Path

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import log_pb2, log_pb2_grpc
from tests.support.images import python_program, write_image
from tests.support.polling import eventually_true
from tests.support.requests import ENDED, create, job_request, status_of, task_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.hostile

MIB = 1 << 20
LIMIT_MIB = 1
WRITTEN_MIB = 1024
MOST_MIB = 300
"""Writing at 3 GB/s it reaches 90; the rest is for a machine on which the shim is late."""
END = "the last line"

# Half of it at once, half after a silence in which nobody need look at the file any more.
FLOOD = python_program(
    "import os, time\n"
    f"block = (b'x' * 1023 + b'\\n') * 1024\n"
    f"for _ in range({WRITTEN_MIB // 2}): os.write(1, block)\n"
    "time.sleep(0.3)\n"
    f"for _ in range({WRITTEN_MIB // 2}): os.write(1, block)\n"
    f"print({END!r})\n"
)


class Flood:
    """The output of a program that floods it, looked at while the server is asked."""

    def __init__(self, server: RunningServer, job_id: str) -> None:
        self._server = server
        self._job_id = job_id
        self._written_bytes = 0
        self.peak_bytes = 0
        self.answers = 0
        """How often the server has answered and the program had written more by then."""

    async def is_over(self) -> pb.JobStatusDetail | None:
        status = await status_of(self._server.stub, self._job_id)
        for file in self._server.data_dir.glob("runs/*/*/*/stdout.log"):
            stat = file.stat()
            self.peak_bytes = max(self.peak_bytes, stat.st_blocks * 512)
            self.answers += stat.st_size > self._written_bytes
            self._written_bytes = stat.st_size
        return status if status.state in ENDED else None


async def output_of(server: RunningServer, task_id: str) -> str:
    request = log_pb2.QueryLogRequest(task_id=task_id)
    return "".join([piece.log async for piece in log_pb2_grpc.LogServiceStub(server.channel).QueryLog(request)])


async def test_a_gigabyte_of_output_fills_no_disk_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    write_image(tmp_path / "images", "flood", FLOOD)
    async with running_server(
        tmp_path, app_image_dir=tmp_path / "images", domains_dir=tmp_path / "domains", output_limit_mib=LIMIT_MIB
    ) as server:
        await create(server.stub, job_request("flood", task_request("t", "flood", ["alice"])))
        flood = Flood(server, "flood")
        status = await eventually_true(flood.is_over, timeout_seconds=60)
        assert status is not None
        assert status.state == "Succeeded", status.err_msg
        assert flood.answers >= 3
        assert LIMIT_MIB * MIB / 4 < flood.peak_bytes <= MOST_MIB * MIB

        output = await output_of(server, status.tasks[0].task_id)
        note, _, kept = output.lstrip("\n").partition("\n")
        assert note.endswith(" bytes of output dropped: output_limit_mib]"), output[:200]
        dropped = int(note.strip("[").split()[0])
        assert kept.endswith(f"x\n{END}\n")
        assert len(kept) <= LIMIT_MIB * MIB
        assert dropped + len(kept) == WRITTEN_MIB * MIB + len(END) + 1
