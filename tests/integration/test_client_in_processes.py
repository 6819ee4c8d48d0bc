"""kusciajob.client in programs of their own: after a fork, in a notebook, and under pytest-asyncio."""

import asyncio
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from kusciajob.client import AsyncClient, JobSpec, Task
from tests.support.polling import PATIENCE_SECONDS
from tests.support.server import RunningServer, clean_environment

TOP = Path(__file__).parents[2]

FORK = """
    import asyncio, os, signal, sys, threading
    from kusciajob.client import AsyncClient, ChangeType, Client, JobSpec, Task

    client, blocking = AsyncClient(sys.argv[1]), Client(sys.argv[1])
    over, last = threading.Event(), f"last-{os.getpid()}"
    spec = JobSpec(last, "alice", [Task("psi", "any", ["alice"], input={"seconds": 1000})])

    async def use():
        version = (await client.server_info()).version
        async for change in client.watch("first", timeout=60):
            return version, change.type, (await client.statuses(change.job_id))[change.job_id].state

    def use_blocking():
        for change in blocking.watch("first", timeout=60):
            return blocking.server_info().version, change.type, blocking.job(change.job_id).status().state

    def in_child(work):
        child = os.fork()
        if child == 0:
            signal.alarm({patience})  # one that hangs ends
            assert work() == told
            sys.exit(7)  # in order, with what Python does at its end
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    async def in_loop():
        assert await use() == told
        watching, heard = client.watch(), []
        heard.append(await anext(watching))
        def work():
            asyncio._set_running_loop(None)  # what multiprocessing's children have, too
            return asyncio.run(use())
        ended = in_child(work)
        await client.create(spec)
        while heard[-1].job_id != last:
            heard.append(await anext(watching))
        await watching.aclose()
        check(heard)
        return ended

    def watch():
        for change in blocking.watch():
            heard.append(change)
            if change.job_id == last:
                return

    def call():
        while not over.is_set():
            blocking.server_info()

    def check(changes):  # nothing is told twice
        told = [(change.job_id, change.type, change.status.raw.SerializeToString()) for change in changes]
        assert len(set(told)) == len(told), changes

    told = asyncio.run(use())
    assert told == use_blocking() and told[1] is ChangeType.ADDED, told
    heard = []
    threads = [threading.Thread(target=work, daemon=True) for work in (watch, call)]
    for thread in threads:
        thread.start()
    while not heard:
        blocking.server_info()  # until the stream is open
    ended = [in_child(lambda: asyncio.run(use())), in_child(use_blocking), asyncio.run(in_loop())]
    assert told == asyncio.run(use()) == use_blocking()  # the parent goes on
    over.set()
    for thread in threads:  # and so do its threads: what came after the forks is told
        thread.join({patience})
        assert not thread.is_alive()
    check(heard)
    print(ended)
"""

TESTS = """
    import asyncio, pytest, pytest_asyncio
    from kusciajob.client import AsyncClient

    @pytest.fixture(scope="session")
    def shared():  # made where no loop runs; each test has a loop of its own
        return AsyncClient({address!r})

    @pytest_asyncio.fixture
    async def own():
        async with AsyncClient({address!r}) as client:
            yield client

    @pytest.mark.asyncio
    @pytest.mark.parametrize("time", range(3))
    async def test_shared(shared, time):
        assert (await shared.server_info()).runtime == "simulated"
        async for change in shared.watch(timeout=60):
            break  # a stream that is left in the middle

    @pytest.mark.asyncio
    async def test_own(own):
        waiting = asyncio.create_task(own.job("first").wait("Suspended"))
        assert await own.statuses("first")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    @pytest.mark.asyncio(loop_scope="module")
    async def test_in_a_wider_loop(shared):
        assert (await shared.server_info()).runtime == "simulated"
"""


@pytest.fixture
async def address(server: RunningServer) -> str:
    job = JobSpec("first", "alice", [Task("psi", "any", ["alice"], input={"seconds": 1000})])
    async with AsyncClient(server.address) as client:
        await (await client.create(job)).wait("Running", timeout=60)
    return server.address


async def run(*arguments: str, directory: Path = TOP) -> str:
    """A Python program to its end; what it printed. AssertionError if it fails, or does not end."""
    environment = clean_environment() | {"PYTHONPATH": str(TOP), "PYTHONWARNINGS": "error", "PYTHONASYNCIODEBUG": "1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=directory, env=environment
    )
    try:
        async with asyncio.timeout(4 * PATIENCE_SECONDS):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        output, errors = await process.communicate()
    assert process.returncode == 0, f"{output.decode()}\n{errors.decode()}"
    return output.decode()


async def test_a_forked_child_and_its_parent_go_on(address: str) -> None:
    program = dedent(FORK).replace("{patience}", str(int(PATIENCE_SECONDS)))
    assert await run("-c", program, address) == "[7, 7, 7]\n"


async def test_tests_under_pytest_asyncio_share_a_client(address: str, tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(dedent(TESTS.replace("{address!r}", repr(address))))
    settings = "asyncio_default_fixture_loop_scope = function\nfilterwarnings = error"
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{settings}\n")
    plugins = ("-p", "no:schemathesis", "-p", "no:cacheprovider")
    told = await run("-m", "pytest", *plugins, str(tmp_path), directory=tmp_path)
    assert "5 passed" in told


async def test_a_notebook_has_a_running_loop(address: str) -> None:
    """What IPython does with a cell: it runs in a loop that runs already; await stands at its top, or calls block."""
    cells = """
        import asyncio
        async def cell_that_blocks(client):
            for change in client.watch(timeout=60):
                return client.job(change.job_id).status().state
        async def cell_that_awaits(client):
            async for change in client.watch(timeout=60):
                return (await client.job(change.job_id).status()).state
        async def notebook():
            from kusciajob.client import AsyncClient, Client
            import sys
            blocking, client = Client(sys.argv[1]), AsyncClient(sys.argv[1])
            for _ in range(2):
                print(await cell_that_blocks(blocking), await cell_that_awaits(client))
            blocking.close()
            await client.close()
        asyncio.run(notebook())
    """
    assert await run("-c", dedent(cells), address) == "Running Running\n" * 2
