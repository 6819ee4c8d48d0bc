"""The job file as a request."""

import sys
from pathlib import Path

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.cli import terminal
from kusciajob.cli.errors import CommandError
from kusciajob.wire.jobfile import JobFileError, parse_job, read_job_file
from kusciajob.wire.json import JsonError, from_value


def read_request(file: Path) -> pb.CreateJobRequest:
    """The job in the file, or on stdin for `-`; what has no effect is told. CommandError tells what is wrong."""
    try:
        job = parse_job(sys.stdin.read(), source="stdin") if str(file) == "-" else read_job_file(file)
        if job.warning:
            terminal.say_line(f"kusciajob: {file}: {job.warning}", err=True)
        return from_value(job.request, pb.CreateJobRequest)
    except (JobFileError, JsonError) as error:
        raise CommandError(str(error)) from None
