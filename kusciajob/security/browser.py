"""Keeps web pages from driving the server through the browser of somebody who can reach it.

A page can send requests to any address, with a foreign Origin, without being able to read the answers. By giving its
own name our address (DNS rebinding) it can read them too; then the Host is foreign. Programs that are no browsers send
no Origin, and name the server as they were told.
"""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from msgspec import Struct

from kusciajob.model.text import shown

ANY_HOST = "*"
_OWN_SITES = ("same-origin", "none")
"""`none`: the user's own doing, e.g. a bookmark. `same-site` is another port, of anybody's program on this machine."""


class ForeignHost(Exception):
    """The request is for a name that is not ours; the text says which and what to set."""


class ForeignPage(Exception):
    """The request was made by a page that is not ours; the text says which and what to set."""


class BrowserRules(Struct, frozen=True):
    """Which hosts and origins are ours. With TLS the certificate has shown to the browser whose the server is."""

    bound_host: str = "127.0.0.1"
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    is_tls: bool = False

    def check_host(self, hosts: Sequence[str]) -> None:
        """Check the request's Host headers; browsers always send one. Raises ForeignHost."""
        if self.is_tls:
            return
        for host in hosts:
            if not _is_ours(host, self.bound_host, self.hosts):
                raise ForeignHost(
                    f"host {_named(host)} is neither loopback nor known: name the server by an address of its own, "
                    "or add this host to the setting allowed_hosts"
                )

    def check_change(self, *, hosts: Sequence[str], origins: Sequence[str], sites: Sequence[str]) -> None:
        """Check Host, Origin and Sec-Fetch-Site of a request that changes something. Raises ForeignPage."""
        scheme = "https" if self.is_tls else "http"
        own = {f"{scheme}://{host.lower()}" for host in hosts}
        for origin in origins:
            if origin.lower() not in own and origin.lower() not in self.origins:
                raise ForeignPage(
                    f"origin {_named(origin)} is not ours: a web page of another origin may change nothing here, "
                    "unless it is in the setting allowed_origins"
                )
        if origins:
            return
        for site in sites:
            if site not in _OWN_SITES:
                raise ForeignPage(
                    f"Sec-Fetch-Site {_named(site)} tells of a web page that is not ours: it may change nothing here; "
                    "the setting allowed_origins knows a page by its Origin, which is missing"
                )


LOOPBACK_ONLY = BrowserRules()


@lru_cache(maxsize=256)
def _is_ours(host: str, bound_host: str, known: tuple[str, ...]) -> bool:
    name = _without_port(host)
    if not name or ANY_HOST in known or name in known or name in ("localhost", bound_host.strip("[]").lower()):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    # Only names can be given another address. Who listens on all has addresses that nobody has told it.
    return _is_loopback(address) or bound_host.strip("[]") in ("0.0.0.0", "::")  # noqa: S104  # compared, not bound


def _is_loopback(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _named(value: str) -> str:
    """The value for a text: headers may hold anything."""
    return shown(value.encode("ascii", "backslashreplace").decode())


def _without_port(host: str) -> str:
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].removesuffix(".")
