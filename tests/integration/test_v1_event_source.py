"""A browser's EventSource on a real server: cut off at any place it goes on without a hole and without a repeat."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.support.polling import PATIENCE_SECONDS
from tests.support.requests import create, ended, job_request, task_request
from tests.support.server import RunningServer

JOBS = 4


class EventSource:
    """As browsers do: it keeps the last id, and sends it when it connects again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.last_id = ""
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        """Name, id and data of each event."""

    async def read(self, session: aiohttp.ClientSession, count: int) -> None:
        """Connect and read so many events more, or all there are; then the connection is cut."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self.last_id} if self.last_id else {})
        async with asyncio.timeout(PATIENCE_SECONDS), session.get(self._url, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            fields: dict[str, str] = {}
            async for line in answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                    continue
                if "data" in fields:
                    self.last_id = fields.get("id", self.last_id)
                    self.told.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
                    count -= 1
                    if not count or self.ended == JOBS:
                        return
                fields = {}

    @property
    def ended(self) -> int:
        """How many jobs have succeeded."""
        return sum(data["job"]["state"] == "Succeeded" for _, _, data in self.told if data["job"])

    @property
    def changes(self) -> list[tuple[str, str]]:
        """What happened to which job, without bookmarks."""
        return [(event, data["revision"]) for event, _, data in self.told if event != "bookmark"]


@pytest.mark.parametrize("cut_after", [1, 2, 5])
async def test_an_event_source_that_is_cut_off_again_and_again_misses_nothing(
    server: RunningServer, cut_after: int
) -> None:
    url = f"http://{server.http_address}/v1/jobs:watch?app_image=any"
    whole, torn = EventSource(url), EventSource(url)
    async with aiohttp.ClientSession() as session:
        await whole.read(session, 1)
        assert whole.told[0][0] == "bookmark"  # from here on, though nothing has happened yet
        torn.last_id = whole.last_id
        for index in range(JOBS):
            await create(server.stub, job_request(f"job-{index}", task_request("only")))
            await create(server.stub, job_request(f"other-{index}", task_request("only", app_image="other")))
        for index in range(JOBS):
            await ended(server.stub, f"job-{index}")
        while torn.ended < JOBS:
            await torn.read(session, cut_after)
        while whole.ended < JOBS:
            await whole.read(session, len(torn.changes))
    assert whole.changes == torn.changes
    assert all(id_ == data["revision"] for _, id_, data in torn.told)
    revisions = [int(revision) for _, revision in torn.changes]
    assert revisions == sorted(set(revisions))
    assert {data["job"]["job_id"] for _, _, data in torn.told if data["job"]} == {f"job-{n}" for n in range(JOBS)}
