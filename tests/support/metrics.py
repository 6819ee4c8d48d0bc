"""What a server measures of itself."""

import aiohttp

from tests.support.server import RunningServer


async def metrics_of(server: RunningServer) -> dict[str, float]:
    """Every value of /metrics, by its name with labels."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{server.http_address}/metrics") as response:
        assert (response.status, response.content_type) == (200, "text/plain")
        text = await response.text()
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def resident_bytes(server: RunningServer) -> float:
    """The memory of its process."""
    return (await metrics_of(server))["process_resident_memory_bytes"]


async def watch_streams(server: RunningServer) -> float:
    """Open watch streams, without that of the scheduler."""
    return (await metrics_of(server))["kusciajob_watch_streams"] - 1
