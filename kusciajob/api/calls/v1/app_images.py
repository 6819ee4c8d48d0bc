"""The calls of AppImagesService."""

import asyncio

from kusciajob._gen.kusciajob.v1 import app_images_pb2 as pb
from kusciajob.images.definition import Definition
from kusciajob.usecases.app_images import AppImageService
from kusciajob.usecases.callers import Caller
from kusciajob.wire.app_images import fill
from kusciajob.wire.v1.pages import MAX_PAGE_BYTES, PageScope, page_size

_SCOPE = PageScope("ListAppImages")
"""Of every caller: all see the same."""


class AppImagesCalls:
    """Tells the AppImages that tasks can name, from files and from the API.

    A domain is told no values of environment variables and of headers of probes, for they can be secret.
    """

    def __init__(self, service: AppImageService) -> None:
        self._service = service

    async def ListAppImages(self, request: pb.ListAppImagesRequest, caller: Caller) -> pb.ListAppImagesResponse:
        size, after = page_size(request.page_size), _SCOPE.name(request.page_token)
        response, taken = pb.ListAppImagesResponse(), 0
        for definition in self._service.after(after):
            told = _tell(definition, caller)
            taken += told.ByteSize()
            if len(response.app_images) == size or (response.app_images and taken > MAX_PAGE_BYTES):
                response.next_page_token = _SCOPE.token(response.app_images[-1].name)
                break
            response.app_images.append(told)
            await asyncio.sleep(0)  # other calls have their turn
        return response

    async def GetAppImage(self, request: pb.GetAppImageRequest, caller: Caller) -> pb.GetAppImageResponse:
        return pb.GetAppImageResponse(app_image=_tell(self._service.get(request.name), caller))


def _tell(definition: Definition, caller: Caller) -> pb.AppImage:
    image = definition.image
    told = pb.AppImage(name=image.name, image=image.image.reference, file=definition.file)
    for template in image.deploy_templates:
        ports = [
            pb.Port(name=port.name, protocol=port.protocol, scope=port.scope)
            for container in template.containers
            for port in container.ports
        ]
        told.roles.extend(
            pb.Role(role=role, replicas=template.replicas, ports=ports) for role in template.roles or ("",)
        )
    fill(told.definition, definition.document, with_values=not caller.domain)
    return told
