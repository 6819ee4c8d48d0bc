"""Makes container images without a registry, of what this machine has: busybox, and the Python that runs the tests."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

_LEFT_OUT = {"test", "tests", "site-packages", "idlelib", "tkinter", "ensurepip", "lib2to3", "__pycache__"}
_PASSWD = b"root:x:0:0::/:/bin/sh\napp:x:1000:1000::/work:/bin/sh\n"
_GROUP = b"root:x:0:\napp:x:1000:\n"


class Layer:
    """A file system, as the tar of an image's layer."""

    def __init__(self) -> None:
        self._packed = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._packed, mode="w")  # noqa: SIM115 - closed by `bytes`
        self._directories: set[str] = set()

    def directory(self, path: str, mode: int = 0o755, *, owner: int = 0) -> None:
        path = path.strip("/")
        if path and path not in self._directories:
            self.directory(os.path.dirname(path))
            self._directories.add(path)
            self._add(path, mode, tarfile.DIRTYPE, owner=owner)

    def file(self, path: str, content: bytes, mode: int = 0o755) -> None:
        self.directory(os.path.dirname(path))
        self._add(path.strip("/"), mode, tarfile.REGTYPE, content)

    def link(self, path: str, target: str) -> None:
        self.directory(os.path.dirname(path))
        entry = tarfile.TarInfo(path.strip("/"))
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self._tar.addfile(entry)

    def tree(self, directory: Path) -> None:
        """All files of a directory of this machine, which need not be executed; links as what they lead to."""
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                self.file(str(path), path.read_bytes(), 0o644)

    def _add(self, path: str, mode: int, kind: bytes, content: bytes = b"", *, owner: int = 0) -> None:
        entry = tarfile.TarInfo(path)
        entry.mode, entry.type, entry.size = mode, kind, len(content)
        entry.uid = entry.gid = owner
        self._tar.addfile(entry, io.BytesIO(content))

    def bytes(self) -> bytes:
        self._tar.close()
        return self._packed.getvalue()


def file_system() -> bytes:
    """A layer with a shell, its tools, and python3."""
    layer = Layer()
    layer.directory("tmp", 0o1777)
    layer.directory("work", 0o777)
    layer.file("etc/passwd", _PASSWD, 0o644)
    layer.file("etc/group", _GROUP, 0o644)
    add_busybox(layer)
    _add_python(layer)
    return layer.bytes()


def busybox() -> Path:
    """A busybox that needs no libraries; Debian's package is installed if need be."""
    file = Path("/bin/busybox")
    if not file.exists():
        subprocess.run(["apt-get", "install", "-y", "-qq", "busybox-static"], check=True)
    return file


def busybox_tools() -> list[str]:
    """The names by which it is called."""
    told = subprocess.run([busybox(), "--list"], check=True, capture_output=True, text=True).stdout
    return [tool for tool in told.split() if tool != "busybox"]


def add_busybox(layer: Layer) -> None:
    """A shell and its tools, in /bin."""
    layer.file("bin/busybox", busybox().read_bytes())
    for tool in busybox_tools():
        layer.link(f"bin/{tool}", "busybox")


def _add_python(layer: Layer) -> None:
    """Python without its tests, at the place where it is on this machine.

    Names of hosts need it: a busybox that is linked statically crashes where it resolves one.
    """
    program = os.path.realpath(sys.executable)
    library = Path(os.__file__).parent
    layer.file(f"{sys.base_prefix}/bin/{library.name}", Path(program).read_bytes())
    layer.link("bin/python3", f"{sys.base_prefix}/bin/{library.name}")
    linked = [program]
    for root, directories, names in os.walk(library):
        directories[:] = [name for name in directories if name not in _LEFT_OUT and not name.startswith("config-")]
        for path in (Path(root, name) for name in names if not name.endswith((".pyc", ".a", ".exe"))):
            layer.file(str(path), path.read_bytes(), 0o755 if path.suffix == ".so" else 0o644)
            if path.suffix == ".so":
                linked.append(str(path))
    for shared in sorted(libraries(linked)):
        layer.file(shared, Path(shared).read_bytes())


def libraries(programs: Iterable[str]) -> set[str]:
    """The shared libraries that programs and libraries of this machine are linked with."""
    found: set[str] = set()
    for program in programs:
        words = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout.split()
        found.update(word for word in words if word.startswith("/") and os.path.exists(word))
    return found


def archive(layer: bytes, configs: Mapping[str, Mapping[str, object]]) -> bytes:
    """What `docker load` and `podman load` read: images of this one layer, by their names, each with its own config."""
    digest = hashlib.sha256(layer).hexdigest()
    files = {f"{digest}/layer.tar": layer}
    manifest = []
    for name, config in configs.items():
        content = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Env": ["PATH=/bin"], "WorkingDir": "/work", **config},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            }
        ).encode()
        config_name = f"{hashlib.sha256(content).hexdigest()}.json"
        files[config_name] = content
        manifest.append({"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]})
    files["manifest.json"] = json.dumps(manifest).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
