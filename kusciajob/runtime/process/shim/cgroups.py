"""A control group (cgroup) for each party: whatever a program starts is in it, and ends with the party.

Used where this process can make them below its own: the freezer of version 1, as root, or version 2 with cgroup.kill
(Linux 5.14), as root or delegated to its user. The freezer goes first: there a start costs 0.06 ms more, in version 2
0.1 ms and now and then a millisecond, when the kernel waits before it moves a process.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator

from kusciajob.files.regular import open_own, open_regular
from kusciajob.runtime.process.shim.records import log, read_bytes
from kusciajob.runtime.process.shim.spawning import RequestError

VERSION_1 = "cgroups (version 1, freezer)"
VERSION_2 = "cgroups (version 2)"
RECORD = "shim.cgroups"
MAX_RECORD_BYTES = 64 << 10
KILL_SECONDS = 2.0
POLL_SECONDS = 0.002


def base_name(directory: str) -> str:
    """The name of the group of a data directory. It is fixed, so that a shim finds what an earlier one has left."""
    found = os.stat(directory)
    return f"kusciajob-{found.st_dev}-{found.st_ino}"


class Group:
    """One group, named by its path; it need not be there."""

    def __init__(self, path: str) -> None:
        self.path = path

    def make(self) -> None:
        """Make the group; what an earlier run has left in it is killed first. Raises OSError."""
        try:
            os.mkdir(self.path)
        except FileExistsError:
            if not self.end():
                raise
            os.mkdir(self.path)
        except FileNotFoundError:  # what is above it was empty and somebody has removed it
            os.makedirs(self.path)

    def join(self, kind: str) -> None:
        """Moves this process, which has one thread, into it. Raises OSError."""
        # Version 1 can move a thread without waiting for any other process.
        _write(f"{self.path}/{'tasks' if kind == VERSION_1 else 'cgroup.procs'}", "0")

    def end(self) -> bool:
        """Kills what is in it and removes it; True when it is gone. Not everything dies at once: call it again."""
        if self._remove():
            return True
        self._kill()
        return self._remove()

    def _remove(self) -> bool:
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            return True
        except OSError:  # busy, or a program of root has made groups in it
            for path in reversed(self._tree()):
                with contextlib.suppress(OSError):
                    os.rmdir(path)
        return not os.path.exists(self.path)

    def _kill(self) -> None:
        try:
            if os.path.exists(f"{self.path}/cgroup.kill"):
                _write(f"{self.path}/cgroup.kill", "1")
            else:
                self._kill_frozen()
        except OSError as error:
            log(f"cgroup {self.path} not killed: {error}")

    def _kill_frozen(self) -> None:
        # Frozen, nothing can fork ahead of the signals; they are delivered once it is thawed.
        _write(f"{self.path}/freezer.state", "FROZEN")
        try:
            killed: set[int] = set()
            while found := self._pids() - killed:
                for pid in found:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                killed |= found
        finally:
            for path in self._tree():  # a program of root can have frozen groups of its own
                _write(f"{path}/freezer.state", "THAWED")

    def _pids(self) -> set[int]:
        return {int(pid) for path in self._tree() for pid in read_bytes(f"{path}/cgroup.procs").split()}

    def _tree(self) -> list[str]:
        """The group and all in it, the outer ones first."""
        paths = [self.path]
        for path in paths:
            with contextlib.suppress(OSError), os.scandir(path) as entries:
                paths += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        return paths


class Cgroups:
    """The groups of one data directory. `home` is where this process belongs when it spawns nothing."""

    def __init__(self, kind: str, home: str, name: str) -> None:
        """Raises OSError where groups cannot be made, or this process cannot be moved."""
        self.kind = kind
        self._home = Group(home)
        self.base = f"{home}/{name}"
        self._is_home = True
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.base)
        if kind == VERSION_2 and not os.path.exists(f"{self.base}/cgroup.kill"):
            os.rmdir(self.base)
            raise FileNotFoundError(f"{self.base}/cgroup.kill")
        try:
            with self.around("probe"):
                pass
        finally:
            self.sweep({"probe"})

    @contextlib.contextmanager
    def around(self, key: str) -> Iterator[None]:
        """What is spawned meanwhile is in the party's group from its first moment. Raises RequestError."""
        group = self._group(key)
        try:
            group.make()
            self._is_home = False
            group.join(self.kind)
        except OSError as error:
            self._go_home()
            raise RequestError(error.errno or 0, f"control group {group.path}: {error.strerror}") from None
        try:
            yield
        finally:
            self._go_home()

    def add(self, key: str, pid: int) -> None:
        """Does nothing: `around` has put the party into its group."""

    def remove(self, key: str) -> None:
        """Nothing to do: a swept group is gone."""

    def sweep(self, keys: set[str]) -> set[str]:
        """Kills what is left of these parties. Returns those of which nothing is left."""
        if not self._is_home and not self._go_home():
            return set()  # it would be killed with them
        return {key for key in keys if self._group(key).end()}

    def next_look(self) -> float | None:
        """Never: the kernel keeps the members."""
        return None

    def look(self) -> None:
        """See `next_look`."""

    def _group(self, key: str) -> Group:
        return Group(f"{self.base}/{group_name(key)}")

    def _go_home(self) -> bool:
        try:
            self._home.join(self.kind)
            self._is_home = True
        except OSError as error:
            log(f"this process cannot go back to its cgroup: {error}")
        return self._is_home


class LeftGroups:
    """The groups that shims of this data directory have made, wherever: each ran where its server had been started."""

    def __init__(self, directory: str, name: str) -> None:
        self._file = f"{directory}/{RECORD}"
        self._bases = []
        mounts = [mount for _, mount, _ in _mounts()]
        for base in read_bytes(self._file, MAX_RECORD_BYTES).decode(errors="replace").splitlines():
            # A program can have written there: it must not lead this process elsewhere.
            is_below = any(base.startswith(f"{mount}/") for mount in mounts) and "/../" not in base
            if is_below and os.path.basename(base) == name and os.path.isdir(base):
                self._bases.append(base)

    def note(self, base: str) -> None:
        """One more is in use from now on."""
        if base in self._bases:
            return
        self._bases.append(base)
        text = "".join(f"{each}\n" for each in self._bases)
        try:
            fd = open_own(self._file, os.O_WRONLY | os.O_CREAT)
            try:
                os.ftruncate(fd, os.write(fd, text.encode()))
            finally:
                os.close(fd)
        except OSError as error:
            log(f"{RECORD} not written, the next shim may miss what this one leaves: {error}")

    def end(self, key: str) -> bool:
        """Returns when nothing is left of a party that no shim has any more, True when there was a group of it."""
        left = [group for base in self._bases if os.path.isdir((group := Group(f"{base}/{group_name(key)}")).path)]
        deadline = time.monotonic() + KILL_SECONDS
        for group in left:
            while not group.end():
                if time.monotonic() > deadline:
                    log(f"cgroup {group.path} of a killed shim is still in use after {KILL_SECONDS:g} s")
                    break
                time.sleep(POLL_SECONDS)
        return bool(left)

    def close(self) -> None:
        """Forgets those that are gone."""
        for base in self._bases:
            with contextlib.suppress(OSError):
                os.rmdir(base)
        if not any(map(os.path.isdir, self._bases)):
            with contextlib.suppress(OSError):
                os.unlink(self._file)


def group_name(key: str) -> str:
    """The key as one component of a path, its own."""
    return "party-" + key.replace("%", "%25").replace("/", "%2F")


def find_cgroups(name: str) -> Cgroups | None:
    """Groups below this process's own; None where it cannot make or use any."""
    own = dict(_own_paths())
    for kind, mount, root in sorted(_mounts()):  # version 1 first
        path = own.get(kind)
        if path is None or not f"{path}/".startswith(root):
            continue
        home = os.path.normpath(f"{mount}/{path.removeprefix(root)}")
        with contextlib.suppress(OSError, RequestError):
            return Cgroups(kind, home, name)
    return None


def _own_paths() -> Iterator[tuple[str, str]]:
    for line in read_bytes("/proc/self/cgroup").decode(errors="replace").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            yield VERSION_2, path
        elif "freezer" in controllers.split(","):
            yield VERSION_1, path


def _mounts() -> Iterator[tuple[str, str, str]]:
    """Kind, mount point and root, with a slash at its end, of each mounted hierarchy that can be used."""
    for line in read_bytes("/proc/self/mountinfo").decode(errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        root, mount = before.split()[3:5]
        kind, _, options = after.split()[:3]
        root = f"{root.rstrip('/')}/"
        if kind == "cgroup2":
            yield VERSION_2, mount, root
        elif kind == "cgroup" and "freezer" in options.split(","):
            yield VERSION_1, mount, root


def _write(path: str, text: str) -> None:
    fd = open_regular(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
