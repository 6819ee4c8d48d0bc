"""AppImages as people have written them for Kuscia run with the values that Kuscia would give them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import log_pb2, log_pb2_grpc
from tests.support.requests import create, ended, job_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRIVATE_VALUE = "known-to-alice-only"
DOMAINS = f"""\
alice:
  values:
    OSS_INFO: {{access_key: {PRIVATE_VALUE}, port: 80}}
    GREETING: "say \\"hello\\""
bob:
  values: {{}}
"""


def image(name: str, script: str, configs: dict[str, str] | None = None, **container: Any) -> dict[str, Any]:
    """An AppImage that runs a shell script in /w, where its config files are unless their keys are absolute."""
    configs = configs or {}
    mounts = [
        {"mountPath": path if path.startswith("/") else f"/w/{path}", "subPath": path.rpartition("/")[2]}
        for path in configs
    ]
    main = {
        "name": "main",
        "workingDir": "/w",
        "command": ["sh", "-c", script],
        "configVolumeMounts": mounts,
        **container,
    }
    return {
        "apiVersion": "kuscia.secretflow/v1alpha1",
        "kind": "AppImage",
        "metadata": {"name": name},
        "spec": {
            "image": {"name": name, "tag": "1"},
            "configTemplates": {path.rpartition("/")[2]: text for path, text in configs.items()},
            "deployTemplates": [{"name": name, "spec": {"containers": [main]}}],
        },
    }


def by_role() -> dict[str, Any]:
    document = image("by-role", "echo I am the generic template")
    server = image("x", "echo I am the server template")["spec"]["deployTemplates"][0]
    document["spec"]["deployTemplates"].insert(0, {**server, "role": "server"})
    return document


def only_server() -> dict[str, Any]:
    document = image("only-server", "echo I am the server template")
    document["spec"]["deployTemplates"][0]["role"] = "server,worker"
    return document


EVERY_NAME = (
    "cert={{.CLIENT_CERT_FILE}}; key={{.CLIENT_PRIVATE_KEY_FILE}}; ca={{.TRUSTED_CA_FILE}}; "
    "server={{.SERVER_CERT_FILE}} {{.SERVER_PRIVATE_KEY_FILE}}; protocol={{.KUSCIA_API_PROTOCOL}}; "
    "token={{.KUSCIA_API_TOKEN}}; data={{.KUSCIA_DOMAIN_KEY_DATA}};\n"
)
ENVREF = [
    {"name": "LATER", "value": "$(URL)"},
    {"name": "HOSTPART", "value": "db.local"},
    {"name": "URL", "value": "http://$(HOSTPART):80/$$(x)/$(NOPE)"},
]
IMAGES = (
    by_role(),
    only_server(),
    image("missing-name", "cat c.conf", {"c.conf": EVERY_NAME}),
    image("envref", "echo URL=$URL LATER=$LATER; cat c.conf", {"c.conf": "t={{.URL}}\n"}, env=ENVREF),
    image("argref", 'echo "$0" "$(printf inner)"', args=["$(TASK_ID)/$(COLOUR)/$(NOPE)/$$(COLOUR)"])
    | {"metadata": {"name": "argref"}},
    image("abs-path", "cat /etc/kuscia/c.conf", {"/etc/kuscia/c.conf": "id={{.TASK_ID}}\n"}),
    image(
        "conf-key",
        "cat c.conf",
        {"c.conf": "ak={{{.OSS_INFO.access_key}}} raw={{.OSS_INFO}} hi={{.GREETING}} port={{{.OSS_INFO.port}}}\n"},
    ),
    image("commented", "cat c.yml", {"c.yml": 'a: "{{.TASK_ID}}"\n#b: "{{.INPUT_CONFIG}}"\n'}),
    image(
        "abs-silent",
        'echo "listen=:$(cat /w/port.txt) $KUSCIA_PORT_M_NUMBER"',
        {"port.txt": "{{{.ALLOCATED_PORTS.ports[name=m].port}}}\n"},
        ports=[{"name": "m"}],
    ),
    image(
        "abs-everywhere",
        'cat "$CONF" && cat "$0" && cd /w && ls && cat /no-such-place/deep/*.conf',
        {"/no-such-place/deep/a.conf": "next=/no-such-place/deep/a.conf\n", "b.conf": "b\n"},
        args=["/w/b.conf"],
        env=[{"name": "CONF", "value": "/no-such-place/deep/a.conf"}],
    ),
    image("own-program", "", command=["/w/bin/engine", "--flags=/w/flags"]),
    image("built-path", 'd=/no-such; cat "$d-place/c.conf"', {"/no-such-place/c.conf": "never seen\n"}),
    image("loud", "cat c.conf >&2; exit 3", {"c.conf": "{{{.OSS_INFO[.OSS_INFO.access_key]}}}\n"}),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    directory = tmp_path_factory.mktemp("published")
    images = directory / "images"
    images.mkdir()
    document = {"apiVersion": "v1", "kind": "List", "items": list(IMAGES)}
    (images / "all.json").write_text(json.dumps(document))
    domains = directory / "data" / "domains.yaml"
    domains.parent.mkdir()
    domains.write_text(DOMAINS)
    async with running_server(directory, app_image_dir=images) as server:
        yield server


async def run(server: RunningServer, app_image: str, job_id: str = "", *, role: str = "") -> pb.JobStatusDetail:
    """The end of a job of one task that alice runs."""
    task = pb.Task(alias="t", app_image=app_image, parties=[pb.Party(domain_id="alice", role=role)])
    await create(server.stub, job_request(job_id or app_image, task))
    return await ended(server.stub, job_id or app_image)


async def output(server: RunningServer, app_image: str, job_id: str = "", *, role: str = "") -> str:
    """What the program of such a job wrote; it must have succeeded."""
    status = await run(server, app_image, job_id, role=role)
    assert status.state == "Succeeded", status.err_msg
    return await written(server, status)


async def written(server: RunningServer, status: pb.JobStatusDetail) -> str:
    text = ""
    request = log_pb2.QueryLogRequest(task_id=status.tasks[0].task_id)
    async for response in log_pb2_grpc.LogServiceStub(server.channel).QueryLog(request):
        assert response.status.code == 0, response.status.message
        text += response.log
    return text


@pytest.mark.parametrize(
    ("role", "expected"),
    [("server", "the server template"), ("client", "the generic template"), ("", "the generic template")],
)
async def test_a_party_runs_the_template_of_its_role_else_the_generic_one(
    server: RunningServer, role: str, expected: str
) -> None:
    assert await output(server, "by-role", f"by-role-{role or 'none'}", role=role) == f"I am {expected}\n"


async def test_a_role_that_no_template_is_for_fails_the_task_with_the_roles(server: RunningServer) -> None:
    assert await output(server, "only-server", "role-none") == "I am the server template\n"
    status = await run(server, "only-server", "role-guest", role="guest")
    assert status.state == "Failed"
    assert 'no deploy template for role "guest" and none without a role' in status.err_msg
    assert 'its roles are: "server", "worker"' in status.err_msg


async def test_the_names_that_kuscia_supplies_are_empty_without_tls(server: RunningServer) -> None:
    assert await output(server, "missing-name") == ("cert=; key=; ca=; server= ; protocol=NOTLS; token=; data=;\n")


async def test_references_in_env_are_expanded_and_templates_see_that(server: RunningServer) -> None:
    url = "http://db.local:80/$(x)/$(NOPE)"
    assert await output(server, "envref") == f"URL={url} LATER=$(URL)\nt={url}\n"


async def test_references_in_args_are_expanded(server: RunningServer) -> None:
    status = await run(server, "argref")
    assert status.state == "Succeeded", status.err_msg
    task_id = status.tasks[0].task_id
    assert await written(server, status) == f"{task_id}/$(COLOUR)/$(NOPE)/$(COLOUR) inner\n"


async def test_an_absolute_config_path_in_the_command_leads_to_the_file(server: RunningServer) -> None:
    status = await run(server, "abs-path")
    assert status.state == "Succeeded", status.err_msg
    assert await written(server, status) == f"id={status.tasks[0].task_id}\n"


async def test_an_absolute_config_path_is_never_silently_empty(server: RunningServer) -> None:
    listen, port = (await output(server, "abs-silent")).split()
    assert listen == f"listen=:{port}"
    assert int(port) > 0


async def test_absolute_paths_lead_to_the_file_in_args_env_directories_and_config_files(server: RunningServer) -> None:
    first, second, *names, last = (await output(server, "abs-everywhere")).splitlines()
    assert first == last
    path = Path(first.removeprefix("next="))
    assert path.read_text() == f"{first}\n"
    assert second == "b"
    assert names == ["b.conf"]


async def test_a_path_that_only_the_program_knows_is_explained_when_it_fails(server: RunningServer) -> None:
    status = await run(server, "built-path")
    assert status.state == "Failed"
    assert "exit code 1 (this runtime has no /no-such-place/c.conf: the file is in the party's own" in status.err_msg


async def test_a_program_of_the_image_is_told_by_its_own_name(server: RunningServer) -> None:
    status = await run(server, "own-program")
    assert (
        status.err_msg == "Task[t]-Party[alice]: the program could not be started: program /w/bin/engine does not exist"
    )


async def test_a_domains_own_values_fill_its_config_files(server: RunningServer) -> None:
    assert await output(server, "conf-key") == (
        f'ak={PRIVATE_VALUE} raw={{\\"access_key\\":\\"{PRIVATE_VALUE}\\",\\"port\\":80}} hi=say \\"hello\\" port=80\n'
    )


async def test_values_are_read_again_when_the_file_has_changed(server: RunningServer) -> None:
    file = server.data_dir / "domains.yaml"
    try:
        file.write_text(DOMAINS.replace(PRIVATE_VALUE, "changed-since"))
        assert "ak=changed-since " in await output(server, "conf-key", "conf-key-changed")
        file.write_text("alice: [broken")
        assert "ak=changed-since " in await output(server, "conf-key", "conf-key-broken")
        await server.logged("settings of domains stay as they were: domains file")
    finally:
        file.write_text(DOMAINS)


async def test_an_unknown_name_is_empty_with_one_warning_where_people_look(server: RunningServer) -> None:
    status = await run(server, "commented")
    assert status.state == "Succeeded", status.err_msg
    config, told = (await written(server, status)).split("kusciajob: ")
    assert config == f'a: "{status.tasks[0].task_id}"\n#b: ""\n'
    warning = "config templates: nothing is known of {{.INPUT_CONFIG}} (c.yml, line 2): left empty"
    assert told.startswith(warning)
    log = await server.logged(f'of task "{status.tasks[0].task_id}": config templates')
    assert [line for line in log.splitlines() if warning in line and status.tasks[0].task_id in line] != []
    assert log.count(f'of task "{status.tasks[0].task_id}": config templates') == 1


async def test_a_value_of_a_domain_is_in_no_log_and_no_message(server: RunningServer) -> None:
    status = await run(server, "loud")
    assert status.state == "Failed"
    assert PRIVATE_VALUE not in str(status)
    assert "nothing is known of {{{.OSS_INFO[.OSS_INFO.access_key]}}}" in status.err_msg
    assert PRIVATE_VALUE not in server.log.read_text()


async def test_with_strict_templates_an_unknown_name_fails_the_party(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "all.json").write_text(json.dumps({"kind": "List", "items": list(IMAGES)}))
    async with running_server(tmp_path, app_image_dir=images, strict_templates=True) as server:
        status = await run(server, "commented")
        assert status.state == "Failed"
        assert 'config templates cannot be rendered: "{{.INPUT_CONFIG}}" in c.yml, line 2' in status.err_msg
        assert await output(server, "missing-name") != ""


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"app_image_dir": "missing"}, "AppImage directory missing cannot be read: No such file or directory"),
        ({"app_image_dir": "/dev/null"}, "AppImage directory /dev/null cannot be read: Not a directory"),
        ({"domains_file": "missing.yaml"}, "domains file missing.yaml: it cannot be read: No such file or directory"),
    ],
)
async def test_a_place_that_was_given_and_is_not_there_is_an_error_at_start(
    tmp_path: Path, settings: dict[str, str], problem: str
) -> None:
    with pytest.raises(AssertionError, match="ended with exit code") as caught:
        async with running_server(tmp_path, **settings):
            pass
    assert problem in str(caught.value)


async def test_a_first_start_warns_of_nothing(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        assert "WARNING" not in server.log.read_text().upper()
        assert not (server.data_dir / "domains.yaml").exists()
