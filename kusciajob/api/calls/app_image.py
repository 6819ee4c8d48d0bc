"""The calls of Kuscia's AppImageService: decode, call the use case, encode."""

import asyncio
from typing import Any, TypeAlias

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import appimage_pb2 as pb
from kusciajob.images.definition import check_size
from kusciajob.model.errors import InvalidAppImage
from kusciajob.usecases.app_images import LARGE_BYTES, AppImageService
from kusciajob.usecases.callers import Caller
from kusciajob.wire.app_images import fill, spec_of
from kusciajob.wire.status import Answer, Code

MAX_BATCH_NAMES = 1000
MAX_BATCH_BYTES = 64 << 20

_Written: TypeAlias = pb.CreateAppImageRequest | pb.UpdateAppImageRequest


class AppImageCalls:
    """One method per RPC, of its name. None raises: the outcome is in the response's status.

    A domain is told no values of environment variables and of headers of probes, for they can be secret.
    """

    def __init__(self, service: AppImageService) -> None:
        self._service = service

    async def CreateAppImage(self, request: pb.CreateAppImageRequest, caller: Caller) -> pb.CreateAppImageResponse:
        response = pb.CreateAppImageResponse()
        with Answer(response.status, Code.CREATE_APP_IMAGE_FAILED):
            self._service.check_rights(request.name, caller)
            spec, size = await _read(request)
            await self._service.create(request.name, spec, caller, size=size)
        return response

    async def UpdateAppImage(self, request: pb.UpdateAppImageRequest, caller: Caller) -> pb.UpdateAppImageResponse:
        response = pb.UpdateAppImageResponse()
        with Answer(response.status, Code.UPDATE_APP_IMAGE_FAILED):
            self._service.check_rights(request.name, caller)
            spec, size = await _read(request)
            await self._service.update(request.name, spec, caller, size=size)
        return response

    async def DeleteAppImage(self, request: pb.DeleteAppImageRequest, caller: Caller) -> pb.DeleteAppImageResponse:
        response = pb.DeleteAppImageResponse()
        with Answer(response.status, Code.DELETE_APP_IMAGE_FAILED):
            await self._service.delete(request.name, caller)
        return response

    async def QueryAppImage(self, request: pb.QueryAppImageRequest, caller: Caller) -> pb.QueryAppImageResponse:
        response = pb.QueryAppImageResponse()
        with Answer(response.status, Code.QUERY_APP_IMAGE_FAILED):
            definition = self._service.get(request.name)
            fill(response.data, definition.document, with_values=not caller.domain)
        return response

    async def BatchQueryAppImage(
        self, request: pb.BatchQueryAppImageRequest, caller: Caller
    ) -> pb.BatchQueryAppImageResponse:
        response, size = pb.BatchQueryAppImageResponse(), 0
        with Answer(response.status, Code.BATCH_QUERY_APP_IMAGE_FAILED):
            if len(request.names) > MAX_BATCH_NAMES:
                raise InvalidAppImage(
                    f"names has {len(request.names):,} entries: at most {MAX_BATCH_NAMES:,} are possible"
                )
            for count, definition in enumerate(self._service.get_all(request.names)):
                data = response.data.add()
                fill(data, definition.document, with_values=not caller.domain)
                size += data.ByteSize()
                if size > MAX_BATCH_BYTES:
                    return _too_large(count, len(request.names))
                await asyncio.sleep(0)  # other calls have their turn
        return response


async def _read(request: _Written) -> tuple[dict[str, Any], int]:
    """What the request has of the AppImage's `spec`, and its bytes. Raises InvalidAppImage."""
    size = request.ByteSize()
    check_size(size)
    return await asyncio.to_thread(spec_of, request) if size > LARGE_BYTES else spec_of(request), size


def _too_large(fitting: int, asked: int) -> pb.BatchQueryAppImageResponse:
    response = pb.BatchQueryAppImageResponse()
    response.status.code = Code.BATCH_QUERY_APP_IMAGE_FAILED
    response.status.message = (
        f"the answer is too large: of {asked:,} names the first {fitting:,} fit into {MAX_BATCH_BYTES >> 20} MiB; "
        "ask for fewer at once"
    )
    return response
