"""Explains why a call failed: it asks the address which protocol it speaks, and names the mistake.

Nothing secret is sent to it: a client certificate where there is one, never a token.
"""

import asyncio
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from kusciajob.cli.options import Target
from kusciajob.client.probe import Heard, Place, Protocol, ask, is_alert, names_at, unverified
from kusciajob.security.names import CA_CERTIFICATE, CLIENT_CERTIFICATE, CLIENT_KEY

PROBE_SECONDS = 3.0
"""How long the address may take to show what it speaks, in all."""
MAX_NAMES = 5

_ADDRESS = re.compile(r"(?:dns:///?|ipv4:|ipv6:)?(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:/\[\]]+)):(?P<port>\d{1,5})")
_UNRESOLVED = ("errors resolving", "DNS resolution failed")
"""How gRPC begins where a name has no address; to look it up once more could take longer than a probe may."""
_URL = re.compile(r"(?:https?|grpcs?)://(?P<place>[^/?#]+).*", re.IGNORECASE)

_GRPC_ADDRESS = "--server takes the gRPC address, port 8083 by default (`serving gRPC on` in the server's log)"
_WITH_CERTIFICATES = "--cert-dir DIR (or KUSCIAJOB_CERT_DIR), the certificates and token that `kusciajob init` made"
_WITHOUT_CERTIFICATES = "without --cert-dir (and KUSCIAJOB_CERT_DIR)"
_FROM_SERVER = "copy ca.crt, client.crt, client.key and token from the server's directory of certificates"

_WRONG_SPEECH: Mapping[tuple[bool, bool, Protocol], str] = {
    # whether the client used TLS, whether the server does, and what it speaks
    (False, True, Protocol.GRPC): f"the server at {{address}} speaks TLS: call it with {_WITH_CERTIFICATES}",
    (False, False, Protocol.HTTP): f"{{address}} is an HTTP port: {_GRPC_ADDRESS}",
    (False, True, Protocol.HTTP): (
        f"{{address}} is an HTTP port with TLS: {_GRPC_ADDRESS}; call that with {_WITH_CERTIFICATES}"
    ),
    (True, False, Protocol.GRPC): (
        f"the server at {{address}} does not speak TLS: call it {_WITHOUT_CERTIFICATES}, or start it with "
        "certificates (`kusciajob serve --cert-dir DIR`)"
    ),
    (True, False, Protocol.HTTP): (
        f"{{address}} is an HTTP port without TLS: {_GRPC_ADDRESS}; call that {_WITHOUT_CERTIFICATES}"
    ),
    (True, True, Protocol.HTTP): f"{{address}} is an HTTP port: {_GRPC_ADDRESS}",
    **{
        (client, server, Protocol.OTHER): f"{{address}} is no job server's: it speaks neither gRPC nor HTTP there; "
        f"{_GRPC_ADDRESS}"
        for client in (False, True)
        for server in (False, True)
    },
}

_FOREIGN = (
    f"the server at {{address}} has a certificate that the authority in {{authority}} has not signed: {_FROM_SERVER}, "
    "or name another directory by --cert-dir"
)
_ANOTHER_NAME = (
    "the certificate of the server at {address} is not for {host}{names}: call it by a name that it is for, or make "
    "one for that name on the server (`kusciajob init --san {host} --force`; clients need the new files then)"
)
# By OpenSSL's X509_V_ERR numbers.
_WRONG_CERTIFICATE: Mapping[int, str] = {
    9: "the certificate of the server at {address} is not valid yet: compare the clocks of both machines",
    10: (
        "the certificate of the server at {address} has expired: make a new one there with `kusciajob init --force`, "
        "then copy the files to the clients"
    ),
    **dict.fromkeys((18, 19, 20, 21), _FOREIGN),
    **dict.fromkeys((62, 64), _ANOTHER_NAME),
}


async def explain(target: Target, details: str) -> str | None:
    """What is wrong with how the target was called, and what to type instead; None where that does not show.

    `details` is what gRPC says of the failure.
    """
    url = _URL.fullmatch(target.address)
    if url:
        return f"--server takes HOST:PORT, not a URL: type --server {url['place']}, with the port of gRPC"
    if re.fullmatch(r"[\w.-]+|\[[^\]]+\]", target.address):
        return f"--server takes HOST:PORT, and {target.address} has no port: type --server {target.address}:8083"
    written = _ADDRESS.fullmatch(target.address)
    if not written or details.startswith(_UNRESOLVED):
        return None
    place = Place(written["v6"] or written["host"], int(written["port"]))
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            if target.cert_dir is None:
                return await _explain_plain(target.address, place)
            return await _explain_tls(target.address, place, target.cert_dir)
    except (OSError, OverflowError):  # nobody there, or silent
        return None


async def _explain_plain(address: str, place: Place) -> str | None:
    protocol = (await ask(place, None)).protocol
    if protocol is not None:
        return _wrong_speech(address, protocol, is_client_tls=False, is_server_tls=False)
    try:
        heard = await ask(place, unverified())
    except ssl.SSLError as error:
        if not is_alert(error):
            return None
        heard = Heard(Protocol.GRPC)
    spoken = heard.protocol or heard.negotiated or Protocol.GRPC
    return _wrong_speech(address, spoken, is_client_tls=False, is_server_tls=True)


async def _explain_tls(address: str, place: Place, directory: Path) -> str | None:
    try:
        context = ssl.create_default_context(cafile=directory / CA_CERTIFICATE)
    except ssl.SSLError:
        return f"{directory / CA_CERTIFICATE} holds no certificate as PEM: {_FROM_SERVER}"
    has_certificate = (directory / CLIENT_CERTIFICATE).exists()
    try:
        if has_certificate:
            context.load_cert_chain(directory / CLIENT_CERTIFICATE, directory / CLIENT_KEY, password="")
    except (ssl.SSLError, ValueError):
        return (
            f"{directory / CLIENT_CERTIFICATE} and {directory / CLIENT_KEY} are no certificate and its key, "
            f"unencrypted, as PEM: {_FROM_SERVER}"
        )
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        heard = await ask(place, context)
    except ssl.SSLCertVerificationError as error:
        return await _wrong_certificate(error, address, place, directory)
    except (ssl.SSLError, ConnectionError) as error:
        if isinstance(error, ssl.SSLError) and is_alert(error):
            # TLS 1.2, where the server looks at the client's certificate before the handshake is over.
            return _wrong_client_certificate(address, directory, is_there=has_certificate)
        protocol = (await ask(place, None)).protocol
        return protocol and _wrong_speech(address, protocol, is_client_tls=True, is_server_tls=False)
    if heard.protocol is None and heard.negotiated is Protocol.GRPC:
        return _wrong_client_certificate(address, directory, is_there=has_certificate)
    spoken = heard.protocol or heard.negotiated
    return spoken and _wrong_speech(address, spoken, is_client_tls=True, is_server_tls=True)


def _wrong_speech(address: str, protocol: Protocol, *, is_client_tls: bool, is_server_tls: bool) -> str | None:
    text = _WRONG_SPEECH.get((is_client_tls, is_server_tls, protocol))
    return text and text.format(address=address)


async def _wrong_certificate(error: ssl.SSLCertVerificationError, address: str, place: Place, directory: Path) -> str:
    text = _WRONG_CERTIFICATE.get(error.verify_code)
    if text is None:
        return f"the certificate of the server at {address} cannot be accepted: {error.verify_message}"
    names: list[str] = []
    if text is _ANOTHER_NAME:
        context = ssl.create_default_context(cafile=directory / CA_CERTIFICATE)
        context.check_hostname = False
        with suppress(OSError):
            names = await names_at(place, context)
    known = f" but for {', '.join(names[:MAX_NAMES])}" if names else ""
    return text.format(address=address, host=place.host, names=known, authority=directory / CA_CERTIFICATE)


def _wrong_client_certificate(address: str, directory: Path, *, is_there: bool) -> str:
    """The server was satisfactory, and hung up when it had seen what this client has."""
    if not is_there:
        return (
            f"the server at {address} asks for a client certificate (mtls), and there is no "
            f"{directory / CLIENT_CERTIFICATE}: copy client.crt and client.key from the server's directory of "
            "certificates"
        )
    return (
        f"the server at {address} does not accept {directory / CLIENT_CERTIFICATE}: the authority in the server's "
        "ca.crt has not signed it, or it has expired; copy client.crt and client.key from the server's directory of "
        "certificates"
    )
