"""Turns the messages of Kuscia's AppImageService into documents in the form of its CRD, and documents into messages.

The messages name their fields as the CRD does, but for two: what a deploy template has in `spec` there is in the
template itself, and a port of a probe is a text also where it is a number.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import appimage_pb2 as pb
from kusciajob.wire.json_writer import map_entry

Document = dict[str, Any]

_TEMPLATE = pb.DeployTemplate.DESCRIPTOR
_OF_POD = ("containers", "restart_policy")
_PORTS = frozenset(kind.DESCRIPTOR.fields_by_name["port"] for kind in (pb.HTTPGetAction, pb.TCPSocketAction))
_RANGES = {FieldDescriptor.CPPTYPE_INT32: 1 << 31, FieldDescriptor.CPPTYPE_INT64: 1 << 63}


def spec_of(request: pb.CreateAppImageRequest | pb.UpdateAppImageRequest) -> Document:
    """The `spec` of the document, with the parts that the request has."""
    document = _document_of(request)
    return {name: document[name] for name in ("image", "configTemplates", "deployTemplates") if name in document}


def fill(data: pb.QueryAppImageResponseData, document: Any, *, with_values: bool = True) -> None:
    """Write what the message can say of a document into an empty message. The document may hold anything.

    Without `with_values` the values of environment variables and of headers are left out: they can be secret.
    """
    metadata, spec = document.get("metadata"), document.get("spec")
    data.name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    _fill(data, {**spec, "name": None} if isinstance(spec, dict) else {})
    if not with_values:
        for template in data.deploy_templates:
            for container in template.containers:
                _leave_out_values(container)


def _leave_out_values(container: pb.Container) -> None:
    for variable in container.env:
        variable.ClearField("value")
    for probe in (container.liveness_probe, container.readiness_probe, container.startup_probe):
        for header in probe.http_get.http_headers:
            header.ClearField("value")


def _document_of(message: Message) -> Document:
    """Fields that have their default values are left out, messages within it that are there are not."""
    document: Document = {}
    for field, value in message.ListFields():
        document[field.json_name] = _plain(field, value)
    if message.DESCRIPTOR is _TEMPLATE:
        names = [_TEMPLATE.fields_by_name[name].json_name for name in _OF_POD]
        document["spec"] = {name: document.pop(name) for name in names if name in document}
    return document


def _plain(field: FieldDescriptor, value: Any) -> Any:
    if map_entry(field):
        return dict(value)
    if field.message_type:
        return [_document_of(item) for item in value] if field.is_repeated else _document_of(value)
    if field.is_repeated:
        return list(value)
    if field in _PORTS and value.isascii() and value.isdecimal() and len(value) < 6 and str(int(value)) == value:
        return int(value)
    return value


def _fill(message: Message, document: Mapping[str, Any]) -> None:
    """What does not fit is left out: no AppImage is refused for what has no effect here."""
    pod = document.get("spec") if message.DESCRIPTOR is _TEMPLATE else None
    for name, field in _fields(message.DESCRIPTOR):
        is_of_pod = message.DESCRIPTOR is _TEMPLATE and field.name in _OF_POD
        value = (pod.get(name) if isinstance(pod, dict) else None) if is_of_pod else document.get(name)
        if value is None:
            continue
        if map_entry(field):
            if isinstance(value, dict):
                texts = {_text(key): _text(item) for key, item in value.items()}
                getattr(message, field.name).update({k: v for k, v in texts.items() if k is not None and v is not None})
        elif field.is_repeated:
            _extend(getattr(message, field.name), field, value)
        elif field.message_type:
            if isinstance(value, dict):
                inner = getattr(message, field.name)
                inner.SetInParent()
                _fill(inner, value)
        elif (scalar := _scalar(field, value)) is not None:
            setattr(message, field.name, scalar)


def _extend(items: Any, field: FieldDescriptor, value: Any) -> None:
    if not isinstance(value, list | tuple):
        return
    for item in value:
        if field.message_type is None:
            if (scalar := _scalar(field, item)) is not None:
                items.append(scalar)
        elif isinstance(item, dict):
            _fill(items.add(), item)


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    """The value, as the field takes it; None where it does not."""
    limit = _RANGES.get(field.cpp_type)
    if limit is None:
        return _text(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and -limit <= value < limit else None


def _text(value: Any) -> str | None:
    """Amounts and ports may be numbers in a document."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return None
    return value


@cache
def _fields(descriptor: Descriptor) -> tuple[tuple[str, FieldDescriptor], ...]:
    return tuple((field.json_name, field) for field in descriptor.fields)
