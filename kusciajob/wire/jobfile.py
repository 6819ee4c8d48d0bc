"""Reads a job from a file: a CreateJobRequest as JSON or YAML, or Kuscia's KusciaJob custom resource as YAML.

Field names may be written as in the proto (`task_id`), in camelCase (`taskId`) or as in the CRD (`taskID`). Whether the
job makes sense is for the server to say; here only form counts: known fields of the right type.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from msgspec import Struct

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi.job_pb2 import CreateJobRequest, JobResource
from kusciajob.files.places import Step, document_in, steps_of
from kusciajob.files.yaml import InvalidYaml, parse_documents, parse_json_documents, read_text
from kusciajob.model.errors import JobError, Problem
from kusciajob.model.job import SCHEDULE_MODE_HEADER, ScheduleMode
from kusciajob.model.text import cut, first, shown
from kusciajob.wire.json import JsonError
from kusciajob.wire.json_reader import described, field_reader
from kusciajob.wire.json_writer import map_entry

# What the server receives at most; YAML has a lower limit of its own.
MAX_JOB_FILE_BYTES = 256 * 1024 * 1024

_API_GROUP = "kuscia.secretflow/"
_CUSTOM_FIELD_LABEL = "kuscia.job.custom-fields/"
_BANDWIDTH_RESOURCE = "kuscia.io/bandwidth"
_MAX_NAMED = 20
_MAX_PROBLEMS = 1000
_MAX_TOLD_CHARACTERS = 4000
_Form = FieldDescriptor | Callable[[Any, str, "_Notes"], Any] | None
"""How a field is read: as the API's JSON, by a function of its own, or, for None, not at all: it has no effect."""
_REFERENCE = re.compile(r"\{\{[^{}\n]{1,100}\}\}")


class JobFileError(JobError):
    """A job file cannot be used; the message names the file, the place and what would be right.

    `problems` has all that is wrong, each with its place as the file spells it; empty where it is not known.
    """

    def __init__(self, text: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(text)
        self.problems = tuple(problems)


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


class _Notes:
    """What is noted while a file is read: places without effect, and problems with their texts."""

    def __init__(self) -> None:
        self.ignored: list[str] = []
        self.problems: list[tuple[Problem, str]] = []

    def refuse(self, place: str, error: JsonError) -> None:
        """Note what is wrong at a place, of which the text is the error's."""
        if len(self.problems) < _MAX_PROBLEMS:
            exact = error.path if error.path.startswith(place) else place
            self.problems.append((Problem(exact, error.text), str(error)))


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
            raise JsonError("it holds no job: a CreateJobRequest or a KusciaJob is expected")
        notes = _Notes()
        is_custom_resource = "kind" in document or "apiVersion" in document
        read = _read_custom_resource if is_custom_resource else _read_request
        request = read(document, notes)
        _refuse_references(request, "", notes)
    except JsonError as error:
        raise JobFileError(f"{source}: {error}{_unfilled(text)}", [Problem(error.path, error.text)]) from None
    except InvalidYaml as error:
        raise JobFileError(f"{source}: {error}{_unfilled(text)}", [Problem("", str(error))]) from None
    if notes.problems:
        told = cut("; ".join([error for _, error in notes.problems]), _MAX_TOLD_CHARACTERS)
        raise JobFileError(f"{source}: {told}{_unfilled(text)}", [problem for problem, _ in notes.problems])
    return JobFile(request, tuple(notes.ignored))


def places_in(text: str) -> Callable[[str], tuple[int, int]]:
    """A function that finds the line and column, from 1 on, of a field in the text of a job file.

    The field is named as in a CreateJobRequest, or as the file names it. 0 where the place is not known.
    """
    document = document_in(text)
    items = document and document.inner("items")
    root = (items.inner(0) if items else document) or document

    def find(field: str) -> tuple[int, int]:
        if root is None:
            return 0, 0
        steps = steps_of(field)
        if steps and "kind" in root.keys() and root.inner(steps[0], _plain) is None:  # noqa: SIM118  # no mapping
            steps = _in_custom_resource(steps)
        place = root.nearest(steps, _plain)
        return place.line, place.column

    return find


def _in_custom_resource(steps: Sequence[Step]) -> list[Step]:
    """Where a KusciaJob has what a CreateJobRequest has elsewhere."""
    match steps:
        case ["job_id"]:
            return ["metadata", "name"]
        case ["custom_fields", *keys]:
            return ["metadata", "labels", *(f"{_CUSTOM_FIELD_LABEL}{key}" for key in keys)]
        case ["header", *_]:
            return ["spec", "schedule_mode"]
    return ["spec", *steps]


def _unfilled(text: str) -> str:
    """A hint for a file that cannot be read: it may be a template that nobody has filled in."""
    reference = _REFERENCE.search(text)
    if reference is None:
        return ""
    return f" (it is still a template: put a value in the place of {shown(reference.group())} and the like)"


def _read_request(document: dict[str, Any], notes: _Notes) -> dict[str, Any]:
    return _read_message(document, _REQUEST, "", notes)


def _parse_document(text: str) -> object:
    documents = _parse_documents(text)
    match documents:
        case [{"kind": "List" | "KusciaJobList", "items": [*items]}]:  # as `kubectl get` exports them
            documents = items
    if len(documents) != 1:
        raise JsonError(f"it holds {len(documents)} documents: a job file holds exactly one")
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
        raise JsonError(f"it is not valid JSON: {json_problem}") from None


def _read_custom_resource(document: dict[str, Any], notes: _Notes) -> dict[str, Any]:
    kind, version = document.get("kind"), document.get("apiVersion")
    if kind != "KusciaJob":
        raise JsonError(f'expected "KusciaJob", not {described(kind)}', "kind")
    if not isinstance(version, str) or not version.startswith(_API_GROUP):
        raise JsonError(f'expected "{_API_GROUP}v1alpha1", not {described(version)}', "apiVersion")
    metadata, spec = document.get("metadata"), document.get("spec")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        raise JsonError("it is missing: it becomes the job_id", "metadata.name")
    if not isinstance(spec, dict):
        raise JsonError(f"expected a mapping with initiator and tasks, not {described(spec)}", "spec")
    notes.ignored += [str(name) for name in document if name not in _DOCUMENT_FIELDS]
    notes.ignored += [f"metadata.{name}" for name in metadata if name not in _METADATA_FIELDS]
    request: dict[str, Any] = {
        "job_id": _read_plain(metadata["name"], _REQUEST.fields_by_name["job_id"], "metadata.name")
    }
    request |= _read_fields(spec, _SPEC, "spec", notes)
    if mode := request.pop("schedule_mode", ""):
        request["header"] = {"custom_headers": {SCHEDULE_MODE_HEADER: mode}}
    if fields := _read_custom_fields(metadata.get("labels"), notes):
        request["custom_fields"] = fields
    return request


def _read_custom_fields(labels: object, notes: _Notes) -> dict[str, str]:
    """Kuscia keeps a job's custom fields as labels of the resource."""
    fields: dict[str, str] = {}
    texts = _REQUEST.fields_by_name["custom_fields"]
    for name, value in _read_plain({} if labels is None else labels, texts, "metadata.labels").items():
        if name.startswith(_CUSTOM_FIELD_LABEL):
            fields[name.removeprefix(_CUSTOM_FIELD_LABEL)] = value
        else:
            notes.ignored.append(f"metadata.labels.{name}")
    return fields


def _refuse_references(value: Any, place: str, notes: _Notes) -> None:
    """A name that is still `{{.X}}` would be refused by the server for its braces; here the cause is told."""
    match value:
        case dict():
            for name, item in value.items():
                if name != "task_input_config":  # it may be a template for the program itself
                    _refuse_references(item, f"{place}.{name}" if place else name, notes)
        case list():
            for index, item in enumerate(value):
                _refuse_references(item, f"{place}[{index}]", notes)
        case str() if reference := _REFERENCE.search(value):
            text = f"{shown(reference.group())} has not been filled in yet: put the value in its place"
            notes.refuse(place, JsonError(text, place))


def _read_message(value: Any, kind: Descriptor, place: str, notes: _Notes) -> dict[str, Any]:
    """The message as its fields' names and values; what a job file may say beside them is in _BESIDE."""
    found = _read_fields(value, {**kind.fields_by_name, **_BESIDE.get(kind.name, {})}, place, notes)
    if kind is not _RESOURCES:
        return found
    # The flat form of the API, and the CRD's limits and requests: a limit counts before a request.
    requests, limits = found.pop("requests", {}), found.pop("limits", {})
    notes.ignored += [
        f"{place}.requests.{name} (the limit counts)"
        for name, quantity in requests.items()
        if limits.get(name, quantity) != quantity
    ]
    return {**requests, **limits, **found}


def _read_fields(value: Any, fields: Mapping[str, _Form], place: str, notes: _Notes) -> dict[str, Any]:
    """What the mapping says. What is wrong with an entry is noted, and the entry left out."""
    names = {_plain(name): name for name in fields}
    result: dict[str, Any] = {}
    for key, item in _mapping(value, place).items():
        here = f"{place}.{key}" if place else key
        try:
            name = names.get(_plain(key))
            if name is None:
                close = get_close_matches(_plain(key), names, n=1)
                meant = f"did you mean {names[close[0]]}?" if close else f"known are {', '.join(fields)}"
                raise JsonError(f"field {shown(key)} is unknown: {meant}", place)
            if name in result:
                raise JsonError(f"field {name} stands twice, in two spellings", place)
            form = fields[name]
            if item is None:
                continue
            if form is None:
                notes.ignored.append(here)
            else:
                result[name] = (
                    _read_field(item, form, here, notes)
                    if isinstance(form, FieldDescriptor)
                    else form(item, here, notes)
                )
        except JsonError as error:
            notes.refuse(here, error)
    return result


def _read_field(value: Any, field: FieldDescriptor, place: str, notes: _Notes) -> Any:
    kind = field.message_type
    if kind is None or map_entry(field):
        return _read_plain(value, field, place)
    if not field.is_repeated:
        return _read_message(value, kind, place, notes)
    if not isinstance(value, list):
        raise JsonError(f"expected a list, not {described(value)}", place)
    entries = []
    for at, item in enumerate(value):
        here = f"{place}[{at}]"
        try:
            entries.append(_read_message(item, kind, here, notes))
        except JsonError as error:
            notes.refuse(here, error)
            entries.append({})  # the others keep their places
    return entries


def _read_plain(value: Any, field: FieldDescriptor, place: str) -> Any:
    """A value without messages in it, read as the API's JSON is."""
    try:
        return field_reader(field)(value)
    except JsonError as error:
        if field.type != FieldDescriptor.TYPE_STRING or field.is_repeated:
            raise error.within(place) from None
        hint = "JSON goes into a block string (|)" if isinstance(value, dict | list) else "put it in quotes"
        raise JsonError(f"{error}; {hint}", place) from None


def _plain(name: str) -> str:
    plain = name.replace("_", "").lower()
    return _CUSTOM_RESOURCE_NAMES.get(plain, plain)


def _mapping(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise JsonError(f"expected a mapping, not {described(value)}", place)
    return value


def _quantity(value: Any, place: str, _: _Notes) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise JsonError(f'expected a quantity such as 2, "500m" or "4Gi", not {described(value)}', place)
    return str(value)


def _kubernetes_resources(value: Any, place: str, notes: _Notes) -> dict[str, str]:
    names = {"cpu": "cpu", "memory": "memory", _BANDWIDTH_RESOURCE: "bandwidth"}
    found = {}
    for name, quantity in _mapping(value, place).items():
        if name in names:
            found[names[name]] = _quantity(quantity, f"{place}.{name}", notes)
        else:
            notes.ignored.append(f"{place}.{name}")
    return found


def _schedule_mode(value: Any, place: str, _: _Notes) -> str:
    """Only Strict needs to be told: without a word a job is BestEffort."""
    if value not in list(ScheduleMode):
        raise JsonError(f"expected {' or '.join(ScheduleMode)}, not {described(value)}", place)
    return "" if value == ScheduleMode.BEST_EFFORT else str(value)


_REQUEST = cast(Descriptor, CreateJobRequest.DESCRIPTOR)
_RESOURCES = JobResource.DESCRIPTOR
# Fields of the CRD that mean the same under a name of their own.
_CUSTOM_RESOURCE_NAMES = {
    "lifecycleseconds": "tasktimeoutseconds",
    "retryintervalseconds": "resourcereallocationintervalseconds",
}
# None: known and without effect here.
_BESIDE: dict[str, dict[str, _Form]] = {
    "JobResource": {
        "cpu": _quantity,
        "memory": _quantity,
        "bandwidth": _quantity,
        "limits": _kubernetes_resources,
        "requests": _kubernetes_resources,
        "claims": None,
    },
    "ScheduleConfig": {"min_reserved_members": None},
}
_SPEC: dict[str, _Form] = {
    **{name: _REQUEST.fields_by_name[name] for name in ("initiator", "max_parallelism", "tasks")},
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
