"""ValidateJob of a file: what it asks for, and where in it the problems are."""

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as kuscia
from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.files.yaml import MAX_YAML_BYTES, place_told
from kusciajob.model.errors import InvalidJob, Problem
from kusciajob.wire.bounds import TooManyElements, check_json
from kusciajob.wire.jobfile import JobFileError, parse_job, places_in
from kusciajob.wire.json import JsonError, from_value

_SOURCE = "the file"
_NO_EFFECT = "it has no effect here"


def check_file(request: pb.ValidateJobRequest) -> str:
    """The file of a request. Raises InvalidJob where it is too large, or the request has a job beside it."""
    file: str = request.file
    if len(file) > MAX_YAML_BYTES:
        text = f"file has {len(file):,} characters: at most {MAX_YAML_BYTES:,} are possible"
    elif request.request.HasField("job"):
        text = "file is given, and request.job too: one of them must be absent"
    else:
        return file
    raise InvalidJob(text, problems=[Problem("file", text)])


def read_file(file: str, beside: pb.SubmitJobRequest) -> pb.ValidateJobResponse:
    """An answer with the request that the file and what is `beside` it make, or with the problems of its form."""
    response = pb.ValidateJobResponse()
    try:
        check_json(file.encode())  # YAML has lower limits of its own
        job = parse_job(file, source=_SOURCE)
        asked = from_value(job.request, kuscia.CreateJobRequest)
    except JobFileError as error:
        response.problems.extend(pb.FieldProblem(field=each.field, description=each.text) for each in error.problems)
    except TooManyElements as error:
        response.problems.add(description=str(error))
    except JsonError as error:
        response.problems.add(field=error.path, description=error.text)
    else:
        response.request.CopyFrom(beside)
        response.request.job.CopyFrom(asked)
        for place in job.ignored:
            field, _, reason = place.partition(" ")
            response.ignored.add(field=field, description=reason.strip("()") or _NO_EFFECT)
    add_places(response, file)
    return response


def add_places(response: pb.ValidateJobResponse, file: str) -> None:
    """Write where in the file each field is, as far as that is known."""
    told = (*response.problems, *response.ignored)
    find = places_in(file) if any(each.field and not each.line for each in told) else None
    for each in told:
        if not each.line:
            each.line, each.column = find(each.field) if find and each.field else place_told(each.description)
