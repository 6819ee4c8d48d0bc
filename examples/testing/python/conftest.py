import pytest


@pytest.fixture(scope="session")
def kuscia_domains() -> tuple[str, ...]:
    """Those that have a token of their own: so the server has TLS."""
    return ("alice", "bob")
