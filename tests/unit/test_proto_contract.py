"""The interface is Kuscia's to the last field number; the committed stubs are what gen_proto.sh makes of it.

`tests/resources/kuscia_declarations` writes the interface out a second time, compactly and without comments: it is the
table our proto files are held against, and the stand-in for stubs somebody else compiled from Kuscia's own files.
"""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import appimage_pb2, health_pb2, job_pb2, log_pb2

ROOT = Path(__file__).parents[2]
RESOURCES = ROOT / "tests" / "resources"
DECLARATIONS = RESOURCES / "kuscia_declarations"
API = "kuscia/proto/api/v1alpha1"
FILES = {
    f"{API}/common.proto": common_pb2.DESCRIPTOR,
    f"{API}/kusciaapi/appimage.proto": appimage_pb2.DESCRIPTOR,
    f"{API}/kusciaapi/health.proto": health_pb2.DESCRIPTOR,
    f"{API}/kusciaapi/job.proto": job_pb2.DESCRIPTOR,
    f"{API}/kusciaapi/log.proto": log_pb2.DESCRIPTOR,
}
OURS = "kusciajob._gen.kuscia"
THEIRS = "kuscia"


def compile_protos(proto_root: Path, *outputs: str) -> None:
    """Compiles all files below `proto_root` with plain protoc, knowing nothing of scripts/gen_proto.sh."""
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={proto_root}", *outputs, *FILES]
    subprocess.run(command, check=True, timeout=60)


def describe(file: FileDescriptorProto) -> list[str]:
    """The declarations as lines of text, in order; without the JSON names, which only some compilations spell out."""
    plain = FileDescriptorProto.FromString(file.SerializeToString())
    messages = list(plain.message_type)
    while messages:
        message = messages.pop()
        messages.extend(message.nested_type)
        for field in message.field:
            field.ClearField("json_name")
    return str(plain).splitlines()


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileDescriptorProto]:
    descriptors = tmp_path_factory.mktemp("declared") / "descriptors"
    compile_protos(DECLARATIONS, f"--descriptor_set_out={descriptors}")
    return {file.name: file for file in FileDescriptorSet.FromString(descriptors.read_bytes()).file}


@pytest.mark.parametrize("name", FILES)
def test_loaded_files_declare_the_interface(name: str, declared: dict[str, FileDescriptorProto]) -> None:
    """Package, imports, options, services with their streams, messages, fields, enums: all of it, in order."""
    ours = FileDescriptorProto()
    FILES[name].CopyToProto(ours)
    assert describe(ours) == describe(declared[name])


def test_proto_directory_holds_the_files_of_the_interface_and_no_other() -> None:
    proto = ROOT / "proto"
    found = {file.relative_to(proto).as_posix() for file in (proto / "kuscia").rglob("*") if file.is_file()}
    assert found == set(FILES)


@pytest.mark.parametrize("proto_root", [ROOT / "proto", DECLARATIONS], ids=["our-text", "other-text"])
@pytest.mark.parametrize(("first", "second"), [(OURS, THEIRS), (THEIRS, OURS)], ids=["ours-first", "theirs-first"])
def test_stubs_compiled_elsewhere_work_beside_ours_in_one_process(
    proto_root: Path, first: str, second: str, tmp_path: Path
) -> None:
    compile_protos(proto_root, f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}")
    script = RESOURCES / "kuscia_side_by_side.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), first, second, f"unix:{tmp_path}/socket"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def test_our_stubs_need_no_package_named_kuscia() -> None:
    names = ("common_pb2_grpc", "kusciaapi.health_pb2_grpc", "kusciaapi.job_pb2_grpc", "kusciaapi.log_pb2_grpc")
    imports = "; ".join(f"import {OURS}.proto.api.v1alpha1.{name}" for name in names)
    subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; {imports}; sys.exit('kuscia' in sys.modules)"],
        cwd=ROOT,
        check=True,
        timeout=60,
    )


def test_messages_survive_pickling() -> None:
    request = job_pb2.StopJobRequest(job_id="job-a", reason="enough")
    assert pickle.loads(pickle.dumps(request)) == request  # noqa: S301 - our own bytes


class Checkout:
    """A copy of what scripts/gen_proto.sh reads and writes."""

    def __init__(self, directory: Path) -> None:
        self.temporary = directory / "temporary"
        self.temporary.mkdir()
        self.root = directory / "checkout"
        self.generated = self.root / "kusciajob" / "_gen"
        for part in ("proto", "scripts", "kusciajob/_gen"):
            shutil.copytree(ROOT / part, self.root / part, ignore=shutil.ignore_patterns("__pycache__"))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.root / "scripts" / "gen_proto.sh"), *arguments],
            env=os.environ | {"PYTHON": sys.executable, "TMPDIR": str(self.temporary)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def files(self) -> dict[Path, bytes]:
        return {file: file.read_bytes() for file in self.root.rglob("*") if file.is_file()}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_committed_stubs_are_fresh(checkout: Checkout) -> None:
    before = checkout.files()
    done = checkout.run("--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert checkout.files() == before
    assert list(checkout.temporary.iterdir()) == []


JOB_STUBS = Path("kuscia/proto/api/v1alpha1/kusciaapi/job_pb2.pyi")
LEFTOVER = Path("kuscia/proto/api/v1alpha1/kusciaapi/gone_pb2.py")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda generated: (generated / JOB_STUBS).write_text("edited"), f"stale: kusciajob/_gen/{JOB_STUBS}"),
        (lambda generated: (generated / JOB_STUBS).unlink(), f"missing: kusciajob/_gen/{JOB_STUBS}"),
        (lambda generated: (generated / LEFTOVER).touch(), f"extra: kusciajob/_gen/{LEFTOVER}"),
    ],
    ids=["altered", "deleted", "left-over"],
)
def test_check_names_the_file_that_differs_and_a_run_repairs_it(
    damage: Callable[[Path], object], complaint: str, checkout: Checkout
) -> None:
    fresh = checkout.files()
    damage(checkout.generated)
    damaged = checkout.files()

    done = checkout.run("--check")
    assert done.returncode == 1
    assert done.stderr.splitlines()[:-1] == [complaint]
    assert checkout.files() == damaged
    assert list(checkout.temporary.iterdir()) == []

    assert checkout.run().returncode == 0
    assert checkout.files() == fresh


def test_stubs_survive_a_proto_file_that_does_not_compile(checkout: Checkout) -> None:
    (checkout.root / "proto" / API / "common.proto").write_text("message {")
    broken = checkout.files()
    done = checkout.run()
    assert done.returncode != 0
    assert "common.proto:1:" in done.stderr
    assert checkout.files() == broken


def test_unknown_flags_are_refused(checkout: Checkout) -> None:
    done = checkout.run("--chek")
    assert done.returncode == 2
    assert "--chek" in done.stderr
