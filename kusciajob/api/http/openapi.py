"""The OpenAPI 3.1 document of the HTTP API, made from the routes and the descriptors of their messages."""

from functools import cache
from typing import Any

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob.api.calls.v1 import PACKAGE
from kusciajob.api.http.parameters import is_parameter
from kusciajob.api.http.resources import LAST_EVENT_ID, RESUMED_AFTER
from kusciajob.api.http.streams import EVENTS_TYPE, LINES_TYPE
from kusciajob.api.routes import DOMAIN_HEADER, QUERY_LOG, ROUTES, TOKEN_HEADER, V1_ROUTES, Route, variables_in

Schema = dict[str, Any]

_DESCRIPTION = (
    "The SecretFlow Kuscia job API. Requests may also be binary protobuf (`application/x-protobuf`), which is then "
    "answered in kind; in JSON, names may be lowerCamelCase, integers strings, enums numbers, and unknown names are "
    "ignored. What becomes of a call is told by `status.code`: 0 is success. Below /v1 unknown names are refused, and "
    "what becomes of a call is told by the HTTP status."
)
_ERROR = common_pb2.DESCRIPTOR.message_types_by_name["ErrorResponse"]
_STREAM = "One JSON object a line, each as soon as it is there."
_PARTY = (
    "What one party of a task has written. Which one, `header.custom_headers` tells: "
    f'`{{"{DOMAIN_HEADER}": "alice"}}`, or `"alice/server"` (domain and role) where a domain has several parties in '
    "the task. Without: the caller's own, for the master the task's first."
)
_EVENTS = (
    "Or server-sent events: `data` is one JSON object; where there is an `id`, it is one for Last-Event-ID; "
    "`end` comes last, or `broken`, with an `error`, before a stream breaks off."
)
_V1_ERROR = "Error"
_V1_ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "status", "message", "details"],
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "status": {"type": "string", "description": "The name of gRPC's code."},
                "message": {"type": "string"},
                "details": {
                    "type": "array",
                    "description": "A google.rpc.ErrorInfo, and a google.rpc.BadRequest where fields are wrong.",
                    "items": {
                        "type": "object",
                        "required": ["@type"],
                        "properties": {"@type": {"type": "string"}},
                    },
                },
            },
        }
    },
}
_WELL_KNOWN: dict[str, dict[str, Any]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"},
}
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
    schemas: dict[str, Schema] = {_V1_ERROR: _V1_ERROR_SCHEMA}
    content = {
        "openapi": "3.1.0",
        "info": {"title": "kusciajob", "version": "v1alpha1", "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        # Without TLS no token is needed.
        "security": [{"token": []}, {}],
        "paths": {
            route.path: {method.lower(): _operation(route, method, schemas) for method in route.http_methods}
            for route in ROUTES
        }
        | _resources(schemas),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": TOKEN_HEADER}},
            "responses": {
                "Refused": _answer(
                    "Not served: malformed (400), without a known token (401), a change from a foreign web page (403), "
                    "too large (413), under a foreign host (421).",
                    _reference(_ERROR, schemas),
                ),
                _V1_ERROR: _answer("What is wrong.", {"$ref": f"#/components/schemas/{_V1_ERROR}"}),
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


def _resources(schemas: dict[str, Schema]) -> dict[str, Schema]:
    """The paths of kusciajob.v1."""
    paths: dict[str, Schema] = {}
    for route in V1_ROUTES:
        (method,) = route.http_methods
        paths.setdefault(route.path, {})[method.lower()] = _resource(route, schemas)
    return paths


def _resource(route: Route, schemas: dict[str, Schema]) -> Schema:
    answer = _reference(route.call.output_type, schemas)
    in_path = variables_in(route.path)
    parameters = [_parameter(route.call.input_type.fields_by_name[name], "path", schemas) for name in in_path]
    whole = _answer("The response.", answer)
    if route.is_stream:
        whole = _answer(f"{_STREAM} {_EVENTS}", answer, LINES_TYPE)
        whole["content"][EVENTS_TYPE] = {"schema": {"type": "string"}}
        if RESUMED_AFTER in route.call.input_type.fields_by_name:
            header = {"type": "string", "pattern": "^[0-9]{1,18}$"}
            parameters.append({"name": LAST_EVENT_ID, "in": "header", "schema": header})
    operation: Schema = {
        "operationId": route.name,
        "tags": [route.call.containing_service.name],
        "parameters": parameters,
        "responses": {
            "200": whole,
            "default": {"$ref": f"#/components/responses/{_V1_ERROR}"},
            "431": {"$ref": "#/components/responses/Refused"},  # too long a line has no path yet
        },
    }
    if route.has_body:
        request = _reference(route.call.input_type, schemas)
        operation["requestBody"] = {"content": {"application/json": {"schema": request}}}
    else:
        fields = route.call.input_type.fields
        parameters += [
            _parameter(field, "query", schemas) for field in fields if is_parameter(field) and field.name not in in_path
        ]
    return operation


def _parameter(field: FieldDescriptor, place: str, schemas: dict[str, Schema]) -> Schema:
    schema = _value(field, schemas)
    if field.is_repeated:
        schema = {"type": "array", "items": schema}
    return {"name": field.name, "in": place, "schema": schema} | ({"required": True} if place == "path" else {})


def _answer(description: str, schema: Schema, content_type: str = "application/json") -> Schema:
    return {"description": description, "content": {content_type: {"schema": schema}}}


def _reference(message: Descriptor, schemas: dict[str, Schema]) -> Schema:
    """Where the message's schema is. Those of kusciajob.v1 have names that Kuscia's have too."""
    if known := _WELL_KNOWN.get(message.full_name):
        return known
    name = message.full_name if message.file.package == PACKAGE else message.name
    if name not in schemas:
        schemas[name] = {"type": "object"}
        if message.full_name == "google.protobuf.Any":
            schemas[name]["properties"] = {"@type": {"type": "string"}}
        else:
            schemas[name]["properties"] = {field.name: _field(field, schemas) for field in message.fields}
    return {"$ref": f"#/components/schemas/{name}"}


def _field(field: FieldDescriptor, schemas: dict[str, Schema]) -> Schema:
    if field.message_type and field.message_type.GetOptions().map_entry:
        _, value = field.message_type.fields
        return {"type": "object", "additionalProperties": _value(value, schemas)}
    if field.is_repeated:
        return {"type": "array", "items": _value(field, schemas)}
    if field.has_presence:
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
