"""Lays out a party's directory, and says what is executed there."""

import logging
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from kusciajob.contracts import ConfigFile, DomainFacts, OutputStream, PartyPreview, PartySpec, StartFailed
from kusciajob.model.appimage import Container, DeployTemplate
from kusciajob.model.errors import UnknownRole
from kusciajob.model.status import Endpoint
from kusciajob.model.text import shown
from kusciajob.runtime import output_files
from kusciajob.runtime.directories import directory_name
from kusciajob.runtime.process.paths import PathPlacer, mentioned
from kusciajob.runtime.rendering import (
    UNKNOWN_VARIABLES,
    certificate_files,
    config_files,
    preview_of,
    render,
    trace_collector,
    with_likely_endpoints,
)
from kusciajob.telemetry.story import of_party
from kusciajob.users import User, Users

logger = logging.getLogger(__name__)

TEMPORARY = "tmp"
"""A party's own directory for temporary files."""
PASSAGE = 0o711
"""The mode of a directory that others may pass but not read."""
BASE_PATH = "/usr/local/bin:/usr/bin:/bin"


class Program(Struct, frozen=True):
    """What to execute. `argv[0]` is an absolute path."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    restarts_on_failure: bool = False
    notice: str = ""
    """What its standard error begins with."""


def template_of(party: PartySpec) -> DeployTemplate:
    """The party's deploy template. Raises StartFailed if it is not one single program."""
    if party.image is None:
        raise StartFailed(f'AppImage "{party.task.app_image}" is not registered any more')
    try:
        deploy = party.image.template_for(party.party.role)
    except UnknownRole as error:
        raise StartFailed(str(error)) from None
    if len(deploy.containers) != 1:
        raise StartFailed(
            f'AppImage "{party.image.name}", deploy template "{deploy.name}" has {len(deploy.containers)} containers: '
            "the process runtime runs one"
        )
    if not deploy.containers[0].has_command_line:
        raise StartFailed(
            f'AppImage "{party.image.name}", deploy template "{deploy.name}" has neither command nor args: '
            "the process runtime runs no images"
        )
    return deploy


def user_of(party: PartySpec, users: Users) -> User:
    """The user that the party runs as. Raises StartFailed if its domain has none."""
    domain_id = party.party.domain_id
    user = users.of(domain_id)
    if user is None:
        raise StartFailed(f"setting run_as names no user for domain {shown(domain_id)}, and none for all others")
    return user


def prepare(
    party: PartySpec,
    directory: Path,
    *,
    domains: Path,
    path: str,
    progress_url: str,
    facts: DomainFacts,
    strict_templates: bool,
    replica: int = 0,
    user: User | None = None,
    otlp_endpoint: str = "",
) -> Program:
    """Lay out the directory of one of the party's replicas and say what to execute there. StartFailed tells why not.

    The program may write in its root, its temporary and its domain's directory; as another user, nowhere else.
    """
    deploy = template_of(party)
    container = deploy.containers[0]
    domain_directory = f"{domains}/{directory_name(party.party.domain_id)}"
    root, temporary = f"{directory}/root", f"{directory}/{TEMPORARY}"
    cwd = _below(root, container.working_dir)
    mounts = [mount.mount_path for mount in container.config_volume_mounts]
    placer = PathPlacer(root, files=[*mounts, *certificate_files(container, facts)], working_dir=container.working_dir)
    rendering = render(
        party,
        deploy,
        container,
        facts=facts,
        surroundings=_surroundings(path, root, temporary, user, otlp_endpoint),
        variables={"KUSCIAJOB_DOMAIN_DIR": domain_directory, "TASK_PROGRESS_URL": progress_url},
        place=placer.place,
        is_strict=strict_templates,
        replica=replica,
    )
    if any(map(placer.would_break, (*container.command, *container.args))):
        raise StartFailed(
            "the command line has a path of a config file in a text for a shell, which would split the party's "
            'directory: choose a data_dir of letters, digits, ".", "-" and "_", or a relative path',
            detail=root,
        )
    try:
        # Once a program was started there, its files must not be written any more.
        if not os.path.lexists(f"{directory}/{output_files.NAMES[OutputStream.STDOUT]}"):
            for each in (root, temporary, domain_directory, cwd):
                _make(each)
            for file, text in rendering.files.items():
                _write(_below(root, file), text.encode())
            for file, content in rendering.secret_files.items():
                _write(_below(root, file), content)
            if user:
                _hand_over(user, directory, root, temporary)
                _hand_over_domain(user, domain_directory)
            if rendering.warning and not replica:  # the others' is the same
                text = "party %s of task %s: %s"
                logger.warning(text, party.key, shown(party.task_id), rendering.warning, extra=of_party(party))
    except OSError as error:
        text = f"the party's directory cannot be written: {error.strerror}"
        raise StartFailed(text, detail=str(error.filename)) from None
    words = rendering.words
    # A path outside of the party's files is the image's own: the text names it as the AppImage does.
    program = words[0] if os.path.exists(words[0]) else words[0].removeprefix(root)
    return Program(
        argv=(_find(program, cwd, rendering.env["PATH"]), *words[1:]),
        env=rendering.env,
        cwd=cwd,
        restarts_on_failure=deploy.restart_policy == "OnFailure",
        notice=rendering.notice,
    )


def preview(
    party: PartySpec, *, path: str, facts: DomainFacts, strict_templates: bool, user: User | None, otlp_endpoint: str
) -> PartyPreview:
    """What would be executed for a party. Paths are the AppImage's own. StartFailed tells why it could not be."""
    deploy = template_of(party)
    program = preview_of(
        with_likely_endpoints(party),
        deploy,
        deploy.containers[0],
        facts=facts,
        surroundings=_surroundings(path, "", "", user, otlp_endpoint),
        variables=UNKNOWN_VARIABLES,
        is_strict=strict_templates,
    )
    name = (*program.command, *program.args)[0]
    if "/" not in name and "$" not in name:
        _find(name, "/", _search_path(path))
    return PartyPreview(deploy.name, deploy.replicas, (program,))


def config(
    party: PartySpec, *, path: str, facts: DomainFacts, user: User | None, otlp_endpoint: str
) -> tuple[ConfigFile, ...]:
    """See Previewer."""
    deploy = template_of(party)
    surroundings = _surroundings(path, "", "", user, otlp_endpoint)
    container = deploy.containers[0]
    return tuple(
        config_files(party, deploy, container, facts=facts, surroundings=surroundings, variables=UNKNOWN_VARIABLES)
    )


def _surroundings(path: str, home: str, temporary: str, user: User | None, otlp_endpoint: str) -> dict[str, str]:
    """What a program has of this machine's environment."""
    return {
        "PATH": _search_path(path),
        "LANG": "C.UTF-8",
        "HOME": home,
        "TMPDIR": temporary,
        **trace_collector(otlp_endpoint),
        **({"USER": user.name, "LOGNAME": user.name} if user else {}),
    }


def _search_path(path: str) -> str:
    return ":".join(filter(None, (path, os.environ.get("PATH", BASE_PATH))))


def endpoints_of(deploy: DeployTemplate, ports: Sequence[int], host: str) -> tuple[Endpoint, ...]:
    """One address per port, replica by replica, each in the order of the container's ports."""
    return tuple(
        Endpoint(port.name, port.scope, port.protocol, f"{host}:{number}")
        for port, number in zip(deploy.containers[0].ports * deploy.replicas, ports, strict=True)
    )


def explain_paths(container: Container, told: str) -> str:
    """What to tell of a failed program when its last words name a config file at the AppImage's own path; or ""."""
    path = mentioned(told, [mount.mount_path for mount in container.config_volume_mounts])
    if not path or os.path.lexists(path):
        return ""
    return (
        f" (this runtime has no {path}: the file is in the party's own directory, and only a path that is written out "
        "in command, args, env or a config template leads there)"
    )


def _write(file: str, content: bytes) -> None:
    """Write the file, for its owner only, and make the directories above it."""
    _make(os.path.dirname(file))
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)


def _make(directory: str) -> None:
    """Make the directory and those above it. It is fastest if the directory, or only its parent too, is missing."""
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        if not os.path.isdir(directory):
            raise
    except FileNotFoundError:
        _make(os.path.dirname(directory))
        _make(directory)  # another party may have made it meanwhile


def _hand_over(user: User, directory: Path, *own: str) -> None:
    """Give the party's directories and their content to the user; let the user pass the directories above them."""
    # No program has run there yet, so that nothing can be changed under this.
    for passage in (directory, directory.parent, directory.parent.parent):
        passage.chmod(PASSAGE)
    for top in own:
        for place, _, files in os.walk(top):
            for path in (place, *(f"{place}/{name}" for name in files)):
                os.chown(path, user.uid, user.gid, follow_symlinks=False)


def _hand_over_domain(user: User, directory: str) -> None:
    """Give the domain's directory to the user if it is the server's; its content keeps its owners."""
    found = os.lstat(directory)
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
        os.chmod(directory, 0o700)
        os.chown(directory, user.uid, user.gid, follow_symlinks=False)


def _below(root: str, absolute: str) -> str:
    """The AppImage's absolute path inside the party's root; `..` is refused when an AppImage is built."""
    return str(Path(root, absolute.lstrip("/")))


def _find(program: str, cwd: str, path: str) -> str:
    if "/" in program:
        return str(Path(cwd, program))
    found = shutil.which(program, path=path)
    if found is None:
        text = f'command "{program}" was not found on PATH (setting path puts directories before it)'
        raise StartFailed(text, detail=path)
    return str(Path(found).absolute())
