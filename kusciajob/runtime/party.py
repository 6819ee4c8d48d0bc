"""A party as a process sees itself: its directory, environment, config files and command line."""

import hashlib
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct

from kusciajob.contracts import OutputStream, PartySpec, StartFailed
from kusciajob.model import cluster, template
from kusciajob.model.appimage import Container
from kusciajob.model.errors import TemplateError
from kusciajob.model.job import Party
from kusciajob.model.status import Endpoint
from kusciajob.model.text import shown
from kusciajob.users import User, Users

OUTPUT_FILES = {OutputStream.STDOUT: "stdout.log", OutputStream.STDERR: "stderr.log"}
TEMPORARY = "tmp"
"""A party's own directory for temporary files, by this name to the shim as well: it looks whether one is left empty."""
MAX_NAME_BYTES = 255  # of one path component, on Linux
PASSAGE = 0o711
"""The mode of a directory that others may pass but not read."""
BASE_PATH = "/usr/local/bin:/usr/bin:/bin"


class Program(Struct, frozen=True):
    """What to execute. `argv[0]` is an absolute path."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str


def container_of(party: PartySpec, index: int) -> Container:
    """What the party at that index of the task runs. StartFailed when that cannot be one process."""
    task = party.spec.tasks[party.key.task]
    if party.image is None:
        raise StartFailed(f'AppImage "{task.app_image}" is not registered any more')
    deploy = party.image.template_for(task.parties[index].role)
    if len(deploy.containers) != 1:
        raise StartFailed(
            f'AppImage "{party.image.name}", deploy template "{deploy.name}" has {len(deploy.containers)} containers: '
            "the process runtime runs one per party"
        )
    return deploy.containers[0]


def user_of(party: PartySpec, users: Users) -> User:
    """Whose process the party is to be. StartFailed where its domain has no user."""
    domain_id = party.spec.tasks[party.key.task].parties[party.key.party].domain_id
    user = users.of(domain_id)
    if user is None:
        raise StartFailed(f"setting run_as names no user for domain {shown(domain_id)}, and none for all others")
    return user


def prepare(
    party: PartySpec, directory: Path, *, domains: Path, path: str, progress_url: str, user: User | None = None
) -> Program:
    """Lay out the party's directory and say what to execute there. StartFailed names what is wrong.

    The program may write in its root, its temporary and its domain's directory; as another user, nowhere else.
    """
    container = container_of(party, party.key.party)
    own = party.spec.tasks[party.key.task].parties[party.key.party]
    domain_directory = f"{domains}/{directory_name(own.domain_id)}"
    root, temporary = f"{directory}/root", f"{directory}/{TEMPORARY}"
    cwd = _below(root, container.working_dir)
    env = {
        "PATH": ":".join(filter(None, (path, os.environ.get("PATH", BASE_PATH)))),
        "LANG": "C.UTF-8",
        "HOME": root,
        "TMPDIR": temporary,
        "KUSCIAJOB_DOMAIN_DIR": domain_directory,
        "TASK_PROGRESS_URL": progress_url,
        **({"USER": user.name, "LOGNAME": user.name} if user else {}),
        **{variable.name: variable.value for variable in container.env},
        **_task_variables(party, own),
    }
    values = {**env, "TASK_INPUT_CONFIG": party.spec.tasks[party.key.task].task_input_config}
    try:
        # Once a program was started there, what is there is no longer ours to write to.
        if not os.path.lexists(f"{directory}/{OUTPUT_FILES[OutputStream.STDOUT]}"):
            for each in (root, temporary, domain_directory, cwd):
                _make(each)
            _write_config_files(party, container, root, values)
            if user:
                _hand_over(user, directory, root, temporary)
                _hand_over_domain(user, domain_directory)
    except OSError as error:
        text = f"the party's directory cannot be written: {error.strerror}"
        raise StartFailed(text, detail=str(error.filename)) from None
    except TemplateError as error:
        raise StartFailed(f"config templates cannot be rendered: {error}") from None
    words = (*container.command, *container.args)
    return Program(argv=(_find(words[0], cwd, env["PATH"]), *words[1:]), env=env, cwd=cwd)


def directory_name(domain_id: str) -> str:
    """The domain id as one harmless path component, its own; the usual ones stay as they are."""
    name = quote(domain_id, safe="")
    if len(name) > MAX_NAME_BYTES:
        # quote() leaves no "=", so that no other name looks like this one.
        return f"{name[:100]}={hashlib.sha256(domain_id.encode()).hexdigest()}"
    return name.replace(".", "%2E") if name.strip(".") == "" else name


def endpoints_of(container: Container, ports: Sequence[int], host: str) -> tuple[Endpoint, ...]:
    """One address per port of the container, in its order."""
    return tuple(
        Endpoint(port.name, port.scope, port.protocol, f"{host}:{number}")
        for port, number in zip(container.ports, ports, strict=True)
    )


def port_of(endpoint: Endpoint) -> int:
    """The port number of an address."""
    return int(endpoint.address.rpartition(":")[2])


def _task_variables(party: PartySpec, own: Party) -> dict[str, str]:
    endpoints = party.endpoints[party.key.party]
    variables = {
        "TASK_ID": party.task_id,
        "KUSCIA_DOMAIN_ID": own.domain_id,
        "TASK_CLUSTER_DEFINE": _cluster_define(party),
        "ALLOCATED_PORTS": cluster.allocated_ports(
            [
                cluster.AllocatedPort(endpoint.port_name, port_of(endpoint), endpoint.scope, endpoint.protocol)
                for endpoint in endpoints
            ]
        ),
    }
    for endpoint in endpoints:
        variables[cluster.port_variable(endpoint.port_name)] = str(port_of(endpoint))
    return variables


def _cluster_define(party: PartySpec) -> str:
    parties = [
        cluster.ClusterParty(
            member.domain_id,
            member.role,
            tuple(
                cluster.Service(endpoint.port_name, (endpoint.address,))
                for endpoint in endpoints
                if endpoint.scope != "Local"
            ),
        )
        for member, endpoints in zip(party.spec.tasks[party.key.task].parties, party.endpoints, strict=True)
    ]
    return cluster.cluster_define(parties, self_party=party.key.party)


def _write_config_files(party: PartySpec, container: Container, root: str, values: Mapping[str, str]) -> None:
    templates = party.image.config_templates if party.image else {}
    for mount in container.config_volume_mounts:
        file = _below(root, mount.mount_path)
        _make(os.path.dirname(file))
        text = template.render(templates[mount.sub_path], values, file_name=mount.sub_path)
        Path(file).write_text(text, encoding="utf-8")


def _make(directory: str) -> None:
    """The directory is there, with those above it. As fast as can be where it is not, or where its parent is not."""
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        if not os.path.isdir(directory):
            raise
    except FileNotFoundError:
        _make(os.path.dirname(directory))
        _make(directory)  # another party may have made it meanwhile


def _hand_over(user: User, directory: Path, *own: str) -> None:
    """The party's own directories and what is in them become the user's; those above them let him pass, no more."""
    # No program has run there yet, so that nothing can be changed under this.
    for passage in (directory, directory.parent, directory.parent.parent):
        passage.chmod(PASSAGE)
    for top in own:
        for place, _, files in os.walk(top):
            for path in (place, *(f"{place}/{name}" for name in files)):
                os.chown(path, user.uid, user.gid, follow_symlinks=False)


def _hand_over_domain(user: User, directory: str) -> None:
    """The domain's directory becomes the user's own where it is the server's; not what somebody has put into it."""
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
