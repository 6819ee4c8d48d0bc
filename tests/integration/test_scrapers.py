"""A scraper of metrics, which can show its token as a Bearer token only, is let in with that and with nothing less."""

import asyncio
from pathlib import Path

import pytest

from tests.support.callers import Caller
from tests.support.secured import Place, secured_server


async def scrape(place: Place, **headers: str) -> int:
    def ask() -> int:
        connection = Caller(place.certs, place.certs).connect_http(place.http_address)
        try:
            connection.request("GET", "/metrics", headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


@pytest.mark.parametrize("protocol", ["tls", "mtls"])
async def test_the_masters_bearer_token_reads_the_metrics(tmp_path: Path, protocol: str) -> None:
    async with secured_server(tmp_path, protocol=protocol) as place:
        master, alice = place.master.token, place.domain("alice").token
        assert await scrape(place, Authorization=f"Bearer {master}") == 200
        assert await scrape(place, Authorization=f"bearer {alice}") == 403
        assert await scrape(place, Authorization=f"Basic {master}") == 401
        assert await scrape(place, Authorization="Bearer wrong") == 401
        assert await scrape(place, Authorization=f"Bearer {master}", Token="wrong") == 401  # noqa: S106
        assert await scrape(place) == 401
