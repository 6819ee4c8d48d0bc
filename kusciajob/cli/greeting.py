"""What a server says of itself once it has started: what and where it is, and what to try next."""

import json
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from kusciajob import __version__
from kusciajob.api.http.gateway import METRICS_PATH
from kusciajob.api.http.page import PAGE_PATH
from kusciajob.cli.calling import Calling, calling
from kusciajob.config import Settings

SHOWN_IMAGES = 5
_PROTOCOLS = {
    "notls": "neither encryption nor tokens",
    "tls": "encrypted, every call needs a token",
    "mtls": "encrypted, every client needs a certificate, every call a token",
}
_RUNTIMES = {
    "process": "tasks run as programs on this machine",
    "container": "tasks run in containers of this machine's engine",
    "kubernetes": "tasks run as pods of a cluster",
    "simulated": "no programs, tasks end as their task_input_config scripts it",
}
_FIRST_JOB = {
    "job_id": "first",
    "initiator": "alice",
    "tasks": [{"alias": "psi", "app_image": "psi", "parties": [{"domain_id": "alice"}, {"domain_id": "bob"}]}],
}


class Greeting(Struct, frozen=True):
    """The same for people and for programs."""

    lines: Sequence[str]
    details: dict[str, Any]


def greeting(
    settings: Settings, *, grpc_port: int, http_port: int | None, app_images: Sequence[str] | None
) -> Greeting:
    """Of a server with these settings that has got these ports; app_images is None where any name will do."""
    call = calling(settings)
    scheme = "http" if call.protocol == "notls" else "https"
    grpc = f"{settings.bracketed_host}:{grpc_port}"
    http = None if http_port is None else f"{scheme}://{settings.bracketed_host}:{http_port}"
    metrics = None if http is None else f"{http}{METRICS_PATH}"
    page = None if http is None or settings.quirks != "none" else f"{http}{PAGE_PATH}"
    data_dir = "none: jobs are in memory only" if settings.is_in_memory else str(settings.data_dir.resolve())
    to_try = _to_try(call, grpc_port, http_port, is_simulated=app_images is None)
    details = {
        "version": __version__,
        "grpc_address": grpc,
        "http_address": http,
        "metrics_address": metrics,
        "page_address": page,
        "protocol": call.protocol,
        "data_dir": data_dir,
        "runtime": settings.runtime,
        "app_image_dir": None if app_images is None else str(settings.app_images.resolve()),
        "app_images": None if app_images is None else len(app_images),
        "app_image_names": list(app_images or ())[:SHOWN_IMAGES],
        "try": to_try,
    }
    facts = [
        ("gRPC", grpc),
        *([("page", page)] if page else []),
        ("HTTP", f"{http} (metrics: {metrics})" if http else "off"),
        ("protocol", f"{call.protocol}: {_PROTOCOLS[call.protocol]}"),
        ("data directory", data_dir),
        ("runtime", f"{settings.runtime}: {_RUNTIMES[settings.runtime]}"),
        ("AppImages", _images_text(settings, app_images)),
        ("try", to_try[0]),
        *(("", line) for line in to_try[1:]),
    ]
    return Greeting([f"{name:14} {text}" for name, text in facts], details)


def _images_text(settings: Settings, names: Sequence[str] | None) -> str:
    if names is None:
        return "any name will do"
    directory = settings.app_images.resolve()
    if not names:
        return f"none in {directory}: put AppImage files there, or name another directory by --app-image-dir"
    more = ", …" if len(names) > SHOWN_IMAGES else ""
    return f"{len(names)} in {directory}: {', '.join(names[:SHOWN_IMAGES])}{more}"


def _to_try(call: Calling, grpc_port: int, http_port: int | None, *, is_simulated: bool) -> list[str]:
    """Two command lines. A job of our own is certain to run only where nothing really runs."""
    options = call.options(grpc_port)
    if is_simulated:
        job = json.dumps(_FIRST_JOB)
        return [f"echo '{job}' | kusciajob create -f - {options}", f"kusciajob watch first {options}"]
    health = call.grpcurl(grpc_port) if http_port is None else call.curl(http_port)
    return [health, f"kusciajob watch {options}"]
