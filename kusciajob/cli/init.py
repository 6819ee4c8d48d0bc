"""`kusciajob init`: certificates and tokens, and how to use them."""

import json
import shlex
import sys
from pathlib import Path
from string import Template

import click

from kusciajob.cli import options, terminal
from kusciajob.cli.calling import calling
from kusciajob.cli.errors import CommandError
from kusciajob.config import Settings
from kusciajob.security.certificates import VALID_DAYS, server_names
from kusciajob.security.errors import SecurityError
from kusciajob.security.names import CA_KEY
from kusciajob.security.provisioning import provision

_PYTHON = Template("""\
$python - <<'END'
from pathlib import Path

import grpc
from kusciajob.api import kuscia

certs = Path($directory)
credentials = grpc.ssl_channel_credentials(
    root_certificates=(certs / "ca.crt").read_bytes(),
    private_key=(certs / "client.key").read_bytes(),
    certificate_chain=(certs / "client.crt").read_bytes(),
)
token = (certs / "token").read_text().strip()
with grpc.secure_channel($address, credentials) as channel:
    health = kuscia.HealthServiceStub(channel)
    print(health.healthZ(kuscia.HealthRequest(), metadata=[("token", token)]))
END""")


@click.command()
@click.option(
    "--dir",
    "directory",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write there.  [default: where the server looks for them, certs in its data directory]",
)
@click.option(
    "--domain",
    "domains",
    metavar="DOMAIN",
    multiple=True,
    help="Make token and certificate for this domain; repeatable.",
)
@click.option(
    "--san",
    "names",
    metavar="NAME",
    multiple=True,
    help="Name or address of the server, beside localhost; repeatable.  [default: this machine's]",
)
@click.option("--force", is_flag=True, help="Replace present files; every client needs the new ones then.")
@options.text_output
def init(directory: Path | None, domains: tuple[str, ...], names: tuple[str, ...], force: bool, output: str) -> None:
    """Make certificates and tokens, for a server and its clients.

    Writes an authority (CA), a certificate for the server and one for its clients, the master's token, which may do
    everything, and tokens of domains, which may see and act on their own jobs only. A domain's certificate and key are
    for its programs: the server gives them to its parties. A server that finds them demands
    client certificate and token.

    A further domain needs no more than a file: write its token to domains/DOMAIN.token and send the server SIGHUP. Its
    programs are given a certificate when domains/DOMAIN.crt and domains/DOMAIN.key are there, too.
    """
    settings = options.load_settings({"cert_dir": str(directory) if directory else None}, None)
    all_names = server_names(names)
    try:
        files = provision(settings.certificates, names=all_names, domains=domains, overwrite=force)
    except SecurityError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename} cannot be written: {error.strerror}") from None
    if output == "json":
        told = {"files": [str(file) for file in files], "names": all_names, "valid_days": VALID_DAYS}
        terminal.say_json(json.dumps(told | _commands(settings), ensure_ascii=False, indent=2))
        return
    for file in files:
        terminal.say(f"wrote {file}")
    terminal.say(
        f"The server's certificate is for {', '.join(all_names)}. All are valid for {VALID_DAYS} days. "
        f"Who has {CA_KEY} can make more that the server trusts. Programs of tasks run as the server's user and "
        "can read all this, unless the server is started as root with --run-as USER."
    )
    terminal.say(_usage(settings))


def _commands(settings: Settings) -> dict[str, str]:
    """Lines for a shell that start the server and call it; they read the token from its file, none shows it."""
    call = calling(settings)
    return {
        "serve": f"kusciajob serve --cert-dir {shlex.quote(str(settings.certificates.resolve()))}",
        "grpcurl": call.grpcurl(settings.grpc_port),
        "curl": call.curl(settings.http_port),
    }


def _usage(settings: Settings) -> str:
    """The same for people, with a program in Python."""
    commands = _commands(settings)
    python = _PYTHON.substitute(
        python=shlex.quote(sys.executable),
        directory=repr(str(settings.certificates.resolve())),
        address=repr(f"{calling(settings).host}:{settings.grpc_port}"),
    )
    return f"""
# the server
{commands["serve"]}

# grpcurl
{commands["grpcurl"]}

# curl
{commands["curl"]}

# Python
{python}"""
