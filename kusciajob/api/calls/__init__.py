"""The calls of the API. Each is written once and serves both gRPC and HTTP."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from msgspec import Struct

from kusciajob.api.calls.app_image import AppImageCalls
from kusciajob.api.calls.health import HealthCalls
from kusciajob.api.calls.job import JobCalls
from kusciajob.api.calls.log import LogCalls
from kusciajob.api.calls.quirks import KusciaHabits
from kusciajob.api.calls.refusals import noting
from kusciajob.api.calls.v1 import Told, V1Calls, is_v1
from kusciajob.api.calls.v1.app_images import AppImagesCalls
from kusciajob.contracts import Published
from kusciajob.usecases.app_images import AppImageService
from kusciajob.usecases.callers import Caller
from kusciajob.usecases.jobs import JobService
from kusciajob.usecases.logs import TaskOutput
from kusciajob.usecases.refusals import RefusalLog

UnaryCall: TypeAlias = Callable[[Any, Caller], Awaitable[Any]]
"""Of a request and a caller; what it returns is the response, or a EncodedResponse."""
StreamCall: TypeAlias = Callable[..., AsyncGenerator[Sequence[Published | Message | Told], None]]
"""Of a request and a caller. Its first batch comes when the stream is in place, and is empty."""


class ServedCalls(Protocol):
    """What the edges serve."""

    @property
    def HealthService(self) -> HealthCalls: ...

    @property
    def more(self) -> tuple[ServiceDescriptor, ...]:
        """Services beside those that every server has; each as those of kusciajob.v1."""

    def of(self, method: MethodDescriptor) -> Any:
        """The UnaryCall or, where the answer is a stream, the StreamCall; None where nothing serves the method."""


class Calls(Struct, frozen=True):
    """Each service's of Kuscia's, under its name in the proto files, and those of kusciajob.v1."""

    JobService: JobCalls
    LogService: LogCalls
    HealthService: HealthCalls
    AppImageService: AppImageCalls
    v1: V1Calls = V1Calls()
    refusals: RefusalLog | None = None
    """None: nobody keeps them."""
    more: tuple[ServiceDescriptor, ...] = ()

    def of(self, method: MethodDescriptor) -> Any:
        """The UnaryCall or, where the answer is a stream, the StreamCall; None where nothing serves the method."""
        if is_v1(method.containing_service.file.package):
            call = self.v1.of(method)
        else:
            call = getattr(getattr(self, method.containing_service.name), method.name)
        return noting(method, call, self.refusals) if call and self.refusals else call


def build_calls(
    service: JobService,
    output: TaskOutput,
    *v1: object,
    app_images: AppImageService,
    refusals: RefusalLog | None = None,
    health: HealthCalls | None = None,
    has_habits: bool = False,
) -> Calls:
    """Build the calls once for both edges, which so share their caches. `v1`: other parts of V1Calls.

    `has_habits`: only what Kuscia offers, as Kuscia does it.
    """
    return Calls(
        JobService=KusciaHabits(service) if has_habits else JobCalls(service),
        LogService=LogCalls(output),
        HealthService=health or HealthCalls(),
        AppImageService=AppImageCalls(app_images),
        v1=V1Calls() if has_habits else V1Calls(AppImagesCalls(app_images), *v1),
        refusals=refusals,
    )
