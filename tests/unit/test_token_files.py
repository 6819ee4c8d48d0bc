"""What `kusciajob init` writes can be sent as it is."""

from pathlib import Path

from kusciajob.security.provisioning import provision
from kusciajob.security.tokens import domain_file, load_tokens


def test_token_files_hold_the_token_and_nothing_else(tmp_path: Path) -> None:
    provision(tmp_path, names=["localhost"], domains=["alice"])
    for file in (tmp_path / "token", domain_file(tmp_path, "alice")):
        content = file.read_bytes()
        assert content.isalnum(), "a header with a newline is dropped by some clients"
        file.write_bytes(content + b"\n")
    load_tokens(tmp_path)
