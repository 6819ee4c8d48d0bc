"""The OpenAPI 3.1 document of the HTTP API, made from the routes and the descriptors of their messages."""

from functools import cache
from typing import Any

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob.api.routes import DOMAIN_HEADER, QUERY_LOG, ROUTES, TOKEN_HEADER, Route

Schema = dict[str, Any]

_DESCRIPTION = (
    "The SecretFlow Kuscia job API. Requests may also be binary protobuf (`application/x-protobuf`), which is then "
    "answered in kind; in JSON, names may be lowerCamelCase, integers strings, enums numbers, and unknown names are "
    "ignored. What becomes of a call is told by `status.code`: 0 is success."
)
_ERROR = common_pb2.DESCRIPTOR.message_types_by_name["ErrorResponse"]
_STREAM = "One JSON object a line, each as soon as it is there."
_PARTY = (
    "What one party of a task has written. Which one, `header.custom_headers` tells: "
    f'`{{"{DOMAIN_HEADER}": "alice"}}`, or `"alice/server"` (domain and role) where a domain has several parties in '
    "the task. Without: the caller's own, for the master the task's first."
)
_INT64 = {"type": "string", "pattern": "^-?[0-9]{1,20}$"}
_SCALARS: dict[int, Schema] = {
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "format": "uint32", "minimum": 0, "maximum": 2**32 - 1},
    FieldDescriptor.CPPTYPE_INT64: {**_INT64, "format": "int64"},
    FieldDescriptor.CPPTYPE_UINT64: {**_INT64, "format": "uint64"},
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
}


@cache
def document() -> bytes:
    """The document as JSON."""
    schemas: dict[str, Schema] = {}
    content = {
        "openapi": "3.1.0",
        "info": {"title": "kusciajob", "version": "v1alpha1", "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        # Without TLS no token is needed.
        "security": [{"token": []}, {}],
        "paths": {
            route.path: {method.lower(): _operation(route, method, schemas) for method in route.http_methods}
            for route in ROUTES
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": TOKEN_HEADER}},
            "responses": {
                "Refused": _answer(
                    "Not served: malformed (400), without a known token (401), a change from a foreign web page (403), "
                    "too large (413), under a foreign host (421).",
                    _reference(_ERROR, schemas),
                )
            },
        },
    }
    return msgspec.json.encode(content)


def _operation(route: Route, method: str, schemas: dict[str, Schema]) -> Schema:
    answer = _reference(route.call.output_type, schemas)
    operation: Schema = {
        "operationId": route.name if method == "POST" else f"{method.lower()}_{route.name}",
        "tags": [route.call.containing_service.name],
        "responses": {
            "200": _answer(_STREAM if route.is_stream else "What became of the call.", answer),
            "default": {"$ref": "#/components/responses/Refused"},
        },
    }
    if route is QUERY_LOG:
        operation["description"] = _PARTY
    if method == "POST":
        request = _reference(route.call.input_type, schemas)
        operation["requestBody"] = {"content": {"application/json": {"schema": request}}}
    return operation


def _answer(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _reference(message: Descriptor, schemas: dict[str, Schema]) -> Schema:
    if message.name not in schemas:
        schemas[message.name] = {"type": "object"}
        if message.full_name == "google.protobuf.Any":
            schemas[message.name]["properties"] = {"@type": {"type": "string"}}
        else:
            schemas[message.name]["properties"] = {field.name: _field(field, schemas) for field in message.fields}
    return {"$ref": f"#/components/schemas/{message.name}"}


def _field(field: FieldDescriptor, schemas: dict[str, Schema]) -> Schema:
    if field.message_type and field.message_type.GetOptions().map_entry:
        _, value = field.message_type.fields
        return {"type": "object", "additionalProperties": _value(value, schemas)}
    if field.is_repeated:
        return {"type": "array", "items": _value(field, schemas)}
    if field.message_type:
        return {"anyOf": [_value(field, schemas), {"type": "null"}]}
    return _value(field, schemas)


def _value(field: FieldDescriptor, schemas: dict[str, Schema]) -> Schema:
    if field.message_type:
        return _reference(field.message_type, schemas)
    if field.enum_type:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    return _SCALARS[field.cpp_type]
