"""An AppImage as somebody has written it, in a file or through the API, with what it means."""

from typing import Any

import msgspec
from msgspec import Struct

from kusciajob.images.document import from_document
from kusciajob.model.appimage import AppImage
from kusciajob.model.errors import InvalidAppImage

API_VERSION = "kuscia.secretflow/v1alpha1"
KIND = "AppImage"
MAX_DEFINITION_BYTES = 2 << 20
"""The most that an AppImage which was created through the API takes as JSON: it is told in one message."""


class Definition(Struct, frozen=True):
    """An AppImage and its document. `file` is the name of its file; empty where it was created through the API."""

    image: AppImage
    file: str = ""
    written: Any = None
    """A file's document."""
    stored: bytes = b""
    """The document of one that was created through the API, as JSON, which takes less memory."""

    @property
    def document(self) -> Any:
        """All of it in the form of Kuscia's CRD, also what has no effect here."""
        return msgspec.json.decode(self.stored) if self.stored else self.written


def define(name: str, spec: dict[str, Any]) -> Definition:
    """The AppImage of that name and `spec`, to be stored. Raises InvalidAppImage."""
    document = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
    stored = msgspec.json.encode(document)
    check_size(len(stored))
    return Definition(from_document(document), stored=stored)


def restore(name: str, stored: bytes) -> Definition:
    """The AppImage that was stored under that name. Raises InvalidAppImage."""
    try:
        image = from_document(msgspec.json.decode(stored))
    except msgspec.DecodeError as error:
        raise InvalidAppImage(f"what is stored is no JSON: {error}") from None
    if image.name != name:
        raise InvalidAppImage(f"metadata.name is {image.name!r}, but it is stored under another name")
    return Definition(image, stored=stored)


def check_size(count: int) -> None:
    """Raise InvalidAppImage where a definition takes too many bytes."""
    if count > MAX_DEFINITION_BYTES:
        raise InvalidAppImage(
            f"the AppImage takes {count:,} bytes: at most {MAX_DEFINITION_BYTES:,} are possible through the API"
        )
