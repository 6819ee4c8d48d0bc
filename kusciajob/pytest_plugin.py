"""Fixtures for pytest: kuscia_server, kuscia, kuscia_client, kuscia_clock, kuscia_domains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

# Every pytest run in the environment loads this module: what it needs is imported by whoever uses it.
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from kusciajob.client import Client
    from kusciajob.testing.kit import Clock
    from kusciajob.testing.session import Session, TestKit

_FAILED = pytest.StashKey[bool]()
MARK = "kuscia"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kuscia", "job servers for tests")
    group.addoption(
        "--kuscia-address",
        metavar="HOST:PORT",
        help="Run the tests against this server, which was started with `kusciajob serve --testing`.",
    )
    group.addoption("--kuscia-process", action="store_true", help="The server is a process of its own, not a thread.")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "kuscia(clock='auto', strict=True, **settings): how the server of the fixture kuscia begins with a test",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


@pytest.fixture(scope="session")
def kuscia_domains() -> tuple[str, ...]:
    """The domains that have a token of their own. A test suite with domains overrides it: then the server has TLS."""
    return ()


@pytest.fixture(scope="session")
def kuscia_server(request: pytest.FixtureRequest, kuscia_domains: tuple[str, ...]) -> Iterator[Session]:
    """The server of all tests of this process."""
    from kusciajob.testing.session import Session  # noqa: PLC0415

    address = request.config.getoption("--kuscia-address")
    is_process = request.config.getoption("--kuscia-process")
    with Session(address, process=is_process, domains=kuscia_domains) as session:
        yield session


@pytest.fixture
def kuscia(request: pytest.FixtureRequest, kuscia_server: Session) -> Iterator[TestKit]:
    """The server as at its start, under the test's control. Its clock runs whenever nothing else can happen.

    At the end the test fails if a rule has never matched or the server has logged an error.
    """
    mark = request.node.get_closest_marker(MARK)
    options: dict[str, Any] = {"clock": "auto", "strict": True} | (dict(mark.kwargs) if mark else {})
    is_strict = options.pop("strict")
    kit = kuscia_server.kuscia
    kit.reset(**options)
    yield kit
    if is_strict and not request.node.stash.get(_FAILED, False) and (problems := kit.problems()):
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.fixture
def kuscia_client(kuscia: TestKit) -> Iterator[Client]:
    """A client of that server."""
    with kuscia.client() as client:
        yield client


@pytest.fixture
def kuscia_clock(kuscia: TestKit) -> Clock:
    """The server's time."""
    return kuscia.clock
