"""The secret in a program's URL that lets it report progress. It is derived, never stored."""

import hashlib
import hmac
import logging
import re
import secrets
from pathlib import Path

from kusciajob.contracts import PartyKey
from kusciajob.files import private as privatefile
from kusciajob.files.regular import read_regular
from kusciajob.security.errors import SecurityError

logger = logging.getLogger(__name__)

KEY_BYTES = 32
MAC_CHARACTERS = 32
_TOKEN = re.compile(rf"(\d{{1,19}})\.(\d{{1,9}})\.(\d{{1,9}})\.(\d{{1,9}})\.([0-9a-f]{{{MAC_CHARACTERS}}})", re.ASCII)


class ProgressSecrets:
    """Makes and checks the secret of one run of one party; the same in each server that has the same key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, key: PartyKey, task_id: str) -> str:
        """The token of a run: it names the run, and proves that this server issued it."""
        return f"{key.job}.{key.task}.{key.attempt}.{key.party}.{self._mac(key, task_id)}"

    def verify(self, token: str, task_id: str) -> PartyKey | None:
        """The run that a token is for; None for a forged one. The time does not show whether the run exists."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        *numbers, mac = match.groups()
        key = PartyKey(*map(int, numbers))
        return key if hmac.compare_digest(mac, self._mac(key, task_id)) else None

    def _mac(self, key: PartyKey, task_id: str) -> str:
        text = f"{key} {task_id}".encode(errors="surrogatepass")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()[:MAC_CHARACTERS]


def open_progress_secrets(file: Path) -> ProgressSecrets:
    """Open the key file; a missing or damaged one is made anew. Raises SecurityError."""
    try:
        key = read_regular(file, KEY_BYTES + 1)
        if len(key) == KEY_BYTES:
            return ProgressSecrets(key)
        logger.warning("%s holds no key and is replaced: what runs can report no progress any more", file)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise SecurityError(f"{file} cannot be read: {error.strerror}: remove it, and a new one is made") from None
    key = secrets.token_bytes(KEY_BYTES)
    try:
        privatefile.write(file, key)
    except OSError as error:
        raise SecurityError(f"{file} cannot be written: {error.strerror}") from None
    return ProgressSecrets(key)
