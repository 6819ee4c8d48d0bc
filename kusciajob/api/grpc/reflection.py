"""Server reflection that tells the JSON name of each field, as descriptors compiled by protoc for other languages do.

Python's stubs leave json_name out, and clients such as grpcurl would then print `job_id` where Kuscia's own server
makes them print `jobId`.
"""

from collections.abc import Iterable, Sequence

import grpc.aio
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from grpc_reflection.v1alpha import reflection


def serve_reflection(services: Iterable[str], server: grpc.aio.Server) -> None:
    """Serve reflection for these services, given by their full names."""
    names = (*services, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server, pool=_NamingPool())  # type: ignore[arg-type]  # enough of one


class _NamingPool:
    """As much of a descriptor pool as the reflection service asks for."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()
        self.FindMessageTypeByName = self._pool.FindMessageTypeByName
        self.FindExtensionByNumber = self._pool.FindExtensionByNumber
        self.FindAllExtensions = self._pool.FindAllExtensions

    def FindFileByName(self, name: str) -> "_NamedFile":
        """The file of that name. Raises KeyError."""
        return _NamedFile(self._pool.FindFileByName(name))

    def FindFileContainingSymbol(self, symbol: str) -> "_NamedFile":
        """The file that declares the symbol. Raises KeyError."""
        return _NamedFile(self._pool.FindFileContainingSymbol(symbol))


class _NamedFile:
    """As much of a file's descriptor as the reflection service asks for."""

    def __init__(self, file: FileDescriptor) -> None:
        self._file = file
        self.name = file.name

    @property
    def dependencies(self) -> Sequence["_NamedFile"]:
        return [_NamedFile(file) for file in self._file.dependencies]

    def CopyToProto(self, proto: FileDescriptorProto) -> None:
        """The file with a JSON name in every field."""
        self._file.CopyToProto(proto)
        for message in proto.message_type:
            _name_fields(message, self._file.message_types_by_name[message.name])


def _name_fields(message: DescriptorProto, descriptor: Descriptor) -> None:
    for field in message.field:
        field.json_name = descriptor.fields_by_name[field.name].json_name
    for nested in message.nested_type:
        _name_fields(nested, descriptor.nested_types_by_name[nested.name])
