"""The calls that control a server of a test, blocking."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from kusciajob.api import testing as pb
from kusciajob.client.settings import CHANNEL_OPTIONS, tls_credentials

CALL_SECONDS = 120.0
_OPTIONS = (*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
"""A connection of its own: it is to stay when others are cut."""


class KitError(Exception):
    """What a test wants of its server is not possible; the text says why."""


class Control:
    """ControlService of one server. `address` is asked anew after the server has been started again."""

    def __init__(self, address: Callable[[], str], cert_dir: Path | None = None) -> None:
        self._address = address
        self._cert_dir = cert_dir
        self._connected = ""
        self._channel: Any = None
        self._stub: Any = None

    def call(self, method: str, request: Any) -> Any:
        """The response of an RPC. Raises KitError."""
        address = self._address()
        if self._channel is None or address != self._connected:
            self.close()
            if self._cert_dir is None:
                self._channel = grpc.insecure_channel(address, options=_OPTIONS)
            else:
                self._channel = grpc.secure_channel(address, tls_credentials(self._cert_dir), options=_OPTIONS)
            self._stub, self._connected = pb.ControlServiceStub(self._channel), address
        try:
            return getattr(self._stub, method)(request, timeout=CALL_SECONDS, wait_for_ready=True)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                text = f"the server at {address} cannot be controlled: start it with `kusciajob serve --testing`"
                raise KitError(text) from None
            raise KitError(f"{method}: {error.details()}") from None

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
