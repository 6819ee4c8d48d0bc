"""What server reflection tells: the interface as clients in other languages know it."""

from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.support.server import RunningServer, running_server

PACKAGE = "kuscia.proto.api.v1alpha1.kusciaapi"


def fields_of(message: DescriptorProto) -> Iterator[tuple[str, str]]:
    for field in message.field:
        yield field.name, field.json_name
    for nested in message.nested_type:
        yield from fields_of(nested)


async def described(server: RunningServer, symbol: str) -> list[FileDescriptorProto]:
    """The file of the symbol and those it needs."""
    stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
    (answer,) = [answer async for answer in stub.ServerReflectionInfo(iter([request]), timeout=30)]
    return [FileDescriptorProto.FromString(file) for file in answer.file_descriptor_response.file_descriptor_proto]


async def test_every_field_has_the_json_name_that_protoc_gives_it(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        for symbol in (f"{PACKAGE}.JobService", f"{PACKAGE}.LogService", "grpc.health.v1.Health"):
            files = await described(server, symbol)
            names = dict(pair for file in files for message in file.message_type for pair in fields_of(message))
            assert names
            for name, json_name in names.items():
                first, *rest = name.split("_")
                assert json_name == first + "".join(map(str.capitalize, rest))
