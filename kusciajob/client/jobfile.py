"""Reads a job from a file: a CreateJobRequest as JSON or YAML, or Kuscia's KusciaJob custom resource as YAML.

Field names may be written as in the proto (`task_id`), in camelCase (`taskId`) or as in the CRD (`taskID`). Whether the
job makes sense is for the server to say; here only form counts: known fields of the right type.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from msgspec import Struct

from kusciajob.files.yaml import InvalidYaml, parse_documents, parse_json_documents, read_text
from kusciajob.model.errors import JobError
from kusciajob.model.job import SCHEDULE_MODE_HEADER, ScheduleMode
from kusciajob.model.text import first, shown

# What the server receives at most; YAML has a lower limit of its own.
MAX_JOB_FILE_BYTES = 256 * 1024 * 1024

_API_GROUP = "kuscia.secretflow/"
_CUSTOM_FIELD_LABEL = "kuscia.job.custom-fields/"
_BANDWIDTH_RESOURCE = "kuscia.io/bandwidth"
_MAX_NAMED = 20
_REFERENCE = re.compile(r"\{\{[^{}\n]{1,100}\}\}")


class JobFileError(JobError):
    """A job file cannot be used; the message names the file, the place and what would be right."""


class JobFile(Struct, frozen=True):
    """A job as a CreateJobRequest in proto JSON form with the proto's field names.

    `ignored` has the places in the file that have no effect, each with the reason where it is not the place itself.
    """

    request: dict[str, Any]
    ignored: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        """One sentence about all that has no effect; empty where everything has."""
        if not self.ignored:
            return ""
        return f"without effect here: {first(self.ignored, _MAX_NAMED, show=shown)}"


def read_job_file(path: Path) -> JobFile:
    """The job in the file. Raises JobFileError, which names the file, the place and what would be right."""
    try:
        text = read_text(path, limit_bytes=MAX_JOB_FILE_BYTES)
    except InvalidYaml as error:
        raise JobFileError(f"{path}: {error}") from None
    return parse_job(text, source=str(path))


def parse_job(text: str, *, source: str) -> JobFile:
    """Like read_job_file, for a text; `source` is what messages call it."""
    try:
        document = _parse_document(text)
        if not isinstance(document, dict):
            raise _Unfit("", "it holds no job: a CreateJobRequest or a KusciaJob is expected")
        ignored: list[str] = []
        is_custom_resource = "kind" in document or "apiVersion" in document
        read = _read_custom_resource if is_custom_resource else _read_request
        request = read(document, ignored)
    except (_Unfit, InvalidYaml) as error:
        raise JobFileError(f"{source}: {error}{_unfilled(text)}") from None
    return JobFile(request, tuple(ignored))


def _unfilled(text: str) -> str:
    """A hint for a file that cannot be read: it may be a template that nobody has filled in."""
    reference = _REFERENCE.search(text)
    if reference is None:
        return ""
    return f" (it is still a template: put a value in the place of {shown(reference.group())} and the like)"


def _read_request(document: dict[str, Any], ignored: list[str]) -> dict[str, Any]:
    request: dict[str, Any] = _read(document, _REQUEST, "", ignored)
    _refuse_references(request, "")
    return request


class _Unfit(Exception):
    """A value that does not fit its place."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}" if place else problem)


def _parse_document(text: str) -> object:
    documents = _parse_documents(text)
    match documents:
        case [{"kind": "List" | "KusciaJobList", "items": [*items]}]:  # as `kubectl get` exports them
            documents = items
    if len(documents) != 1:
        raise _Unfit("", f"it holds {len(documents)} documents: a job file holds exactly one")
    return documents[0]


def _parse_documents(text: str) -> list[Any]:
    if not text.lstrip().startswith("{"):
        return parse_documents(text)
    try:
        return parse_json_documents(text, limit_characters=MAX_JOB_FILE_BYTES)
    except InvalidYaml as error:
        json_problem = str(error)
    # A YAML flow mapping begins with a brace, too, but who writes one most likely meant JSON.
    try:
        return parse_documents(text)
    except InvalidYaml:
        raise _Unfit("", f"it is not valid JSON: {json_problem}") from None


def _read_custom_resource(document: dict[str, Any], ignored: list[str]) -> dict[str, Any]:
    kind, version = document.get("kind"), document.get("apiVersion")
    if kind != "KusciaJob":
        raise _Unfit("kind", f'it is {_described(kind)}: "KusciaJob" is expected')
    if not isinstance(version, str) or not version.startswith(_API_GROUP):
        raise _Unfit("apiVersion", f'it is {_described(version)}: "{_API_GROUP}v1alpha1" is expected')
    metadata, spec = document.get("metadata"), document.get("spec")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        raise _Unfit("metadata.name", "it is missing: it becomes the job_id")
    if not isinstance(spec, dict):
        raise _Unfit("spec", f"it is {_described(spec)}: a mapping with initiator and tasks is expected")
    ignored += [str(name) for name in document if name not in _DOCUMENT_FIELDS]
    ignored += [f"metadata.{name}" for name in metadata if name not in _METADATA_FIELDS]
    request: dict[str, Any] = {"job_id": _text(metadata["name"], "metadata.name", ignored)}
    request |= _read(spec, _SPEC, "spec", ignored)
    if mode := request.pop("schedule_mode", ""):
        request["header"] = {"custom_headers": {SCHEDULE_MODE_HEADER: mode}}
    if fields := _read_custom_fields(metadata.get("labels"), ignored):
        request["custom_fields"] = fields
    _refuse_references(request, "")
    return request


def _read_custom_fields(labels: object, ignored: list[str]) -> dict[str, str]:
    """Kuscia keeps a job's custom fields as labels of the resource."""
    fields: dict[str, str] = {}
    for name, value in _text_map({} if labels is None else labels, "metadata.labels", ignored).items():
        if name.startswith(_CUSTOM_FIELD_LABEL):
            fields[name.removeprefix(_CUSTOM_FIELD_LABEL)] = value
        else:
            ignored.append(f"metadata.labels.{name}")
    return fields


def _refuse_references(value: Any, place: str) -> None:
    """A name that is still `{{.X}}` would be refused by the server for its braces; here the cause is told."""
    match value:
        case dict():
            for name, item in value.items():
                if name != "task_input_config":  # it may be a template for the program itself
                    _refuse_references(item, f"{place}.{name}" if place else name)
        case list():
            for index, item in enumerate(value):
                _refuse_references(item, f"{place}[{index}]")
        case str() if reference := _REFERENCE.search(value):
            raise _Unfit(place, f"{shown(reference.group())} has not been filled in yet: put the value in its place")


def _read(value: Any, form: Any, place: str, ignored: list[str]) -> Any:
    """Read a value by its form: a mapping of fields, a list of one form, or a reading function."""
    if isinstance(form, dict):
        return _read_fields(value, form, place, ignored)
    if isinstance(form, list):
        if not isinstance(value, list):
            raise _Unfit(place, f"it is {_described(value)}: a list is expected")
        return [_read(item, form[0], f"{place}[{index}]", ignored) for index, item in enumerate(value)]
    return form(value, place, ignored)


def _read_fields(value: Any, fields: Mapping[str, Any], place: str, ignored: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Unfit(place, f"it is {_described(value)}: a mapping is expected")
    names = {_plain(name): name for name in fields}
    result: dict[str, Any] = {}
    for key, item in value.items():
        name = names.get(_plain(key))
        if name is None:
            close = get_close_matches(_plain(key), names, n=1)
            meant = f"did you mean {names[close[0]]}?" if close else f"known are {', '.join(fields)}"
            raise _Unfit(place, f"field {shown(key)} is unknown: {meant}")
        if name in result:
            raise _Unfit(place, f"field {name} stands twice, in two spellings")
        if item is None:
            continue
        here = f"{place}.{key}" if place else key
        if fields[name] is None:
            ignored.append(here)
        else:
            result[name] = _read(item, fields[name], here, ignored)
    return result


def _plain(name: str) -> str:
    plain = name.replace("_", "").lower()
    return _CUSTOM_RESOURCE_NAMES.get(plain, plain)


def _text(value: Any, place: str, _: list[str]) -> str:
    if not isinstance(value, str):
        hint = "JSON goes into a block string (|)" if isinstance(value, dict | list) else "put it in quotes"
        raise _Unfit(place, f"it is {_described(value)}: text is expected; {hint}")
    return value


def _flag(value: Any, place: str, _: list[str]) -> bool:
    if not isinstance(value, bool):
        raise _Unfit(place, f"it is {_described(value)}: true or false is expected")
    return value


def _quantity(value: Any, place: str, _: list[str]) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _Unfit(place, f'it is {_described(value)}: a quantity such as 2, "500m" or "4Gi" is expected')
    return str(value)


def _int32(value: Any, place: str, _: list[str]) -> int:
    return _integer(value, place, -(2**31), 2**31 - 1)


def _uint64(value: Any, place: str, _: list[str]) -> int:
    return _integer(value, place, 0, 2**64 - 1)


def _integer(value: Any, place: str, lowest: int, highest: int) -> int:
    # The proto JSON mapping allows numbers as strings, too.
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise _Unfit(place, f"it is {_described(value)}: a whole number from {lowest} to {highest} is expected")
    return value


def _text_map(value: Any, place: str, ignored: list[str]) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _Unfit(place, f"it is {_described(value)}: a mapping of text to text is expected")
    # null is the empty text, as in the API's JSON.
    return {key: "" if item is None else _text(item, f"{place}.{key}", ignored) for key, item in value.items()}


def _resources(value: Any, place: str, ignored: list[str]) -> dict[str, str]:
    """The flat form of the API, and the CRD's limits and requests: a limit counts before a request."""
    found = _read(value, _RESOURCES, place, ignored)
    requests, limits = found.pop("requests", {}), found.pop("limits", {})
    ignored += [
        f"{place}.requests.{name} (the limit counts)"
        for name, quantity in requests.items()
        if limits.get(name, quantity) != quantity
    ]
    return {**requests, **limits, **found}


def _kubernetes_resources(value: Any, place: str, ignored: list[str]) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _Unfit(place, f"it is {_described(value)}: a mapping with cpu and memory is expected")
    names = {"cpu": "cpu", "memory": "memory", _BANDWIDTH_RESOURCE: "bandwidth"}
    ignored += [f"{place}.{name}" for name in value if name not in names]
    return {
        names[name]: _quantity(quantity, f"{place}.{name}", ignored)
        for name, quantity in value.items()
        if name in names
    }


def _schedule_mode(value: Any, place: str, ignored: list[str]) -> str:
    """Only Strict needs to be told: without a word a job is BestEffort."""
    mode = _text(value, place, ignored)
    if mode not in list(ScheduleMode):
        raise _Unfit(place, f"it is {_described(mode)}: {' or '.join(ScheduleMode)} is expected")
    return "" if mode == ScheduleMode.BEST_EFFORT else mode


def _described(value: Any) -> str:
    match value:
        case None:
            return "missing"
        case bool():
            return str(value).lower()
        case str():
            return f"the text {shown(value)}"
        case dict():
            return "a mapping"
        case list():
            return "a list"
    return f"the number {value}"


# Fields of the CRD that mean the same under a name of their own.
_CUSTOM_RESOURCE_NAMES = {
    "lifecycleseconds": "tasktimeoutseconds",
    "retryintervalseconds": "resourcereallocationintervalseconds",
}

# None: known and without effect here.
_RESOURCES = {
    "cpu": _quantity,
    "memory": _quantity,
    "bandwidth": _quantity,
    "limits": _kubernetes_resources,
    "requests": _kubernetes_resources,
    "claims": None,
}
_PARTY = {
    "domain_id": _text,
    "role": _text,
    "resources": _resources,
    "bandwidth_limits": [{"destination_id": _text, "limit_kbps": _uint64}],
}
_TASK = {
    "app_image": _text,
    "parties": [_PARTY],
    "alias": _text,
    "task_id": _text,
    "dependencies": [_text],
    "task_input_config": _text,
    "priority": _int32,
    "schedule_config": {
        "task_timeout_seconds": _int32,
        "resource_reserved_seconds": _int32,
        "resource_reallocation_interval_seconds": _int32,
        "min_reserved_members": None,
    },
    "tolerable": _flag,
}
_REQUEST = {
    "header": {"custom_headers": _text_map},
    "job_id": _text,
    "initiator": _text,
    "max_parallelism": _int32,
    "tasks": [_TASK],
    "custom_fields": _text_map,
}
_SPEC = {
    "initiator": _text,
    "max_parallelism": _int32,
    "tasks": [_TASK],
    "flow_id": None,
    "schedule_mode": _schedule_mode,
    "stage": None,  # of older exports
}
# What an export of a cluster has beside the job itself: nobody expects it to have an effect.
_DOCUMENT_FIELDS = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
_METADATA_FIELDS = frozenset(
    {"name", "namespace", "labels", "creationTimestamp", "generation", "managedFields"}
    | {"resourceVersion", "selfLink", "uid", "ownerReferences", "finalizers"}
)
