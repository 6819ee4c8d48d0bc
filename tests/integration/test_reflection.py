"""What server reflection tells: the interface as clients in other languages know it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.support.server import running_server

PACKAGE = "kuscia.proto.api.v1alpha1.kusciaapi"


def fields_of(message: DescriptorProto) -> Iterator[tuple[str, str]]:
    for field in message.field:
        yield field.name, field.json_name
    for nested in message.nested_type:
        yield from fields_of(nested)


def described(address: str, symbol: str) -> FileDescriptorProto:
    with grpc.insecure_channel(address) as channel:
        file: FileDescriptorProto = ProtoReflectionDescriptorDatabase(channel).FindFileContainingSymbol(symbol)
        return file


async def test_every_field_has_the_json_name_that_protoc_gives_it(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        for symbol in (f"{PACKAGE}.JobService", f"{PACKAGE}.LogService", "grpc.health.v1.Health"):
            file = await asyncio.to_thread(described, server.address, symbol)
            names = dict(pair for message in file.message_type for pair in fields_of(message))
            assert names
            for name, json_name in names.items():
                first, *rest = name.split("_")
                assert json_name == first + "".join(map(str.capitalize, rest))
