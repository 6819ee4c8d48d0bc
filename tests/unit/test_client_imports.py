"""What an application loads with the client: neither the server nor what only the server needs, also not installed."""

import configparser
import json
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement

TOP = Path(__file__).parents[2]
ROOMS = {"kusciajob.api", "kusciajob.client", "kusciajob.security"}
"""Of security, what tokens and certificates are called and how a token file is read."""

WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""
"""As where the extra `server` is not installed."""


def modules_for_the_server() -> set[str]:
    """The names under which what the extra asks for is imported."""
    setup = configparser.ConfigParser()
    setup.read(TOP / "setup.cfg")
    extra = setup["options.extras_require"]["server"].split("\n")
    wanted = {Requirement(line).name.replace("_", "-").lower() for line in extra if line}
    found = packages_distributions().items()
    return {module for module, names in found if wanted & {name.replace("_", "-").lower() for name in names}}


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout


def loaded_by(module: str) -> set[str]:
    return set(json.loads(run(f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))")))


def test_the_client_loads_neither_the_server_nor_what_it_needs() -> None:
    for_the_server = modules_for_the_server()
    assert {"aiohttp", "click", "cryptography", "prometheus_client", "rich"} <= for_the_server
    modules = loaded_by("kusciajob.client")
    by_grpc = loaded_by("grpc")  # by itself it loads what there is of its family
    assert not (for_the_server | {"yaml"}) & {name.partition(".")[0] for name in modules - by_grpc}
    rooms = {".".join(name.split(".")[:2]) for name in modules if name.startswith("kusciajob.")}
    assert rooms - {"kusciajob._gen"} <= ROOMS
    assert not {name for name in modules if name.startswith(("kusciajob.api.calls", "kusciajob.api.http"))}


def test_jobs_are_read_where_only_the_client_is_installed(tmp_path: Path) -> None:
    job = "job_id: j1\ninitiator: alice\ntasks: [{alias: psi, app_image: any, parties: [{domain_id: alice}]}]"
    (tmp_path / "job.yaml").write_text(job)
    program = WITHOUT.format(missing=modules_for_the_server()) + (
        "from kusciajob.client.specs import request_of\n"
        f"print(request_of({str(tmp_path / 'job.yaml')!r}).job.tasks[0].alias)"
    )
    assert run(program) == "psi\n"


def test_the_command_line_says_what_to_install() -> None:
    program = WITHOUT.format(missing=modules_for_the_server()) + "from kusciajob.__main__ import main; main()"
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1
    assert "pip install 'kusciajob[server]'" in ended.stderr
