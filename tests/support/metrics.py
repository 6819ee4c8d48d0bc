"""What a server measures of itself."""

from typing import Protocol

import aiohttp


class Measured(Protocol):
    """A server, by the address of its HTTP port."""

    @property
    def http_address(self) -> str: ...


async def metrics_of(server: Measured) -> dict[str, float]:
    """Every value of /metrics, by its name with labels."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{server.http_address}/metrics") as response:
        assert (response.status, response.content_type) == (200, "text/plain")
        text = await response.text()
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def resident_bytes(server: Measured) -> float:
    """The memory of its process."""
    return (await metrics_of(server))["process_resident_memory_bytes"]


async def watch_streams(server: Measured) -> float:
    """Open watch streams, without that of the scheduler."""
    return (await metrics_of(server))["kusciajob_watch_streams"] - 1
