# mypy: disallow-any-generics=False
from google.api import annotations_pb2 as _annotations_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import appimage_pb2 as _appimage_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListAppImagesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAppImagesResponse(_message.Message):
    __slots__ = ("app_images", "next_page_token")
    APP_IMAGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    app_images: _containers.RepeatedCompositeFieldContainer[AppImage]
    next_page_token: str
    def __init__(self, app_images: _Optional[_Iterable[_Union[AppImage, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetAppImageRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetAppImageResponse(_message.Message):
    __slots__ = ("app_image",)
    APP_IMAGE_FIELD_NUMBER: _ClassVar[int]
    app_image: AppImage
    def __init__(self, app_image: _Optional[_Union[AppImage, _Mapping]] = ...) -> None: ...

class AppImage(_message.Message):
    __slots__ = ("name", "image", "roles", "file", "definition")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    name: str
    image: str
    roles: _containers.RepeatedCompositeFieldContainer[Role]
    file: str
    definition: _appimage_pb2.QueryAppImageResponseData
    def __init__(self, name: _Optional[str] = ..., image: _Optional[str] = ..., roles: _Optional[_Iterable[_Union[Role, _Mapping]]] = ..., file: _Optional[str] = ..., definition: _Optional[_Union[_appimage_pb2.QueryAppImageResponseData, _Mapping]] = ...) -> None: ...

class Role(_message.Message):
    __slots__ = ("role", "replicas", "ports")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    role: str
    replicas: int
    ports: _containers.RepeatedCompositeFieldContainer[Port]
    def __init__(self, role: _Optional[str] = ..., replicas: _Optional[int] = ..., ports: _Optional[_Iterable[_Union[Port, _Mapping]]] = ...) -> None: ...

class Port(_message.Message):
    __slots__ = ("name", "protocol", "scope")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    protocol: str
    scope: str
    def __init__(self, name: _Optional[str] = ..., protocol: _Optional[str] = ..., scope: _Optional[str] = ...) -> None: ...
