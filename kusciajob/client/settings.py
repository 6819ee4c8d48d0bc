"""Where the server is and how to call it: by arguments, by the environment, by the layout of Kuscia's files."""

import os
from collections.abc import Mapping
from pathlib import Path

import grpc
from msgspec import Struct

from kusciajob.security.names import CA_CERTIFICATE, CLIENT_CERTIFICATE, CLIENT_KEY
from kusciajob.security.tokens import MASTER_FILE, read_token

DEFAULT_ADDRESS = "127.0.0.1:8083"
KUSCIA_CERTIFICATE, KUSCIA_KEY = "kusciaapi-server.crt", "kusciaapi-server.key"
"""What Kuscia's own clients present: its server's certificate and key."""
CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
    # A connection over which nothing comes is asked whether it lives, so that a watch notices one that is dead.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # of every ping: one that gRPC sends for itself delays those above
    ("grpc.http2.max_pings_without_data", 0),  # by default it is asked twice, and never again
)


class ClientSettings(Struct, frozen=True):
    """A server's gRPC address; for TLS the directory of certificates, and the file of the token if it is elsewhere."""

    address: str = DEFAULT_ADDRESS
    cert_dir: Path | None = None
    token_file: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials | None:
        """None without TLS. Raises OSError; SecurityError if a file holds no token."""
        return tls_credentials(self.cert_dir, self.token_file) if self.cert_dir else None


def find_settings(
    address: str | None = None,
    *,
    cert_dir: str | os.PathLike[str] | None = None,
    token_file: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> ClientSettings:
    """What is not given is that of KUSCIAJOB_ADDRESS, KUSCIAJOB_CERT_DIR and KUSCIAJOB_TOKEN_FILE.

    Raises ValueError for a token that would not be sent: without certificates there is no TLS.
    """
    directory = cert_dir or environment.get("KUSCIAJOB_CERT_DIR")
    if token_file and not directory:
        raise ValueError(
            f"token_file is {os.fspath(token_file)!r}, and a token is sent over TLS only: give cert_dir, too, or set "
            "KUSCIAJOB_CERT_DIR"
        )
    token = token_file or environment.get("KUSCIAJOB_TOKEN_FILE")
    return ClientSettings(
        address or environment.get("KUSCIAJOB_ADDRESS") or DEFAULT_ADDRESS,
        Path(directory).expanduser() if directory else None,
        Path(token).expanduser() if token else None,
    )


def token_file_of(directory: Path, token_file: Path | None = None) -> Path:
    """The file of the token for calls."""
    return token_file or directory / MASTER_FILE


class TokenFile:
    """The token in a file, read again when the file has changed."""

    def __init__(self, path: Path) -> None:
        """Raises OSError; SecurityError if the file holds no token."""
        self._path = path
        self._stamp = self._look()
        self._token = read_token(path)

    def current(self) -> str:
        """The present token. Raises as the constructor; a file that is being replaced is read with the next call."""
        stamp = self._look()
        if stamp != self._stamp:
            self._token = read_token(self._path)
            self._stamp = stamp  # of before the reading: what changes meanwhile is seen with the next call
        return self._token

    def _look(self) -> tuple[int, int, int]:
        found = self._path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size


def tls_credentials(directory: Path, token_file: Path | None = None) -> grpc.ChannelCredentials:
    """The certificates in a directory made by `kusciajob init`, or in Kuscia's own, and a token.

    Raises OSError; SecurityError if a file holds no token.
    """
    token = TokenFile(token_file_of(directory, token_file))
    certificate, key = _own_certificate(directory)
    channel = grpc.ssl_channel_credentials(
        root_certificates=(directory / CA_CERTIFICATE).read_bytes(),
        private_key=key.read_bytes() if key else None,
        certificate_chain=certificate.read_bytes() if certificate else None,
    )

    def add_token(_: grpc.AuthMetadataContext, done: grpc.AuthMetadataPluginCallback) -> None:
        try:
            done((("token", token.current()),), None)
        except Exception as error:  # gRPC ends the call with UNAVAILABLE and this text
            done((), error)

    return grpc.composite_channel_credentials(channel, grpc.metadata_call_credentials(add_token))  # type: ignore[arg-type]


def _own_certificate(directory: Path) -> tuple[Path | None, Path | None]:
    """The client's certificate and its key; tls, unlike mtls, needs none."""
    for certificate, key in ((CLIENT_CERTIFICATE, CLIENT_KEY), (KUSCIA_CERTIFICATE, KUSCIA_KEY)):
        if (directory / certificate).exists():
            return directory / certificate, directory / key
    return None, None
