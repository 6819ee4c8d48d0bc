"""Starts one program, or says what cannot be started and why."""

import errno
import os
import signal
from typing import NoReturn

from kusciajob.runtime.process.shim.processes import forgo_privileges

# What the shim ignores would stay ignored in a spawned program.
IGNORED_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ)


class RequestError(Exception):
    """A request that cannot be served: an errno and a text that names the value and the cause."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number


def explain_spawn_error(program: str, error: OSError) -> str:
    """A sentence for the task's message: what could not be run and why."""
    match error.errno:
        case errno.ENOENT if os.path.exists(program):
            return f"program {program} names an interpreter in its first line that does not exist"
        case errno.ENOENT | errno.ENOTDIR:
            return f"program {program} does not exist"
        case errno.EACCES if os.path.isdir(program):
            return f"program {program} is a directory"
        case errno.EACCES:
            return f"program {program} is not executable"
        case errno.ENOEXEC:
            return f"program {program} is neither a binary of this machine nor a script whose first line is #!"
        case errno.E2BIG:
            return f"program {program}: its arguments and environment are larger than the system allows"
        case errno.EAGAIN:
            return f"program {program}: the limit of processes is reached (RLIMIT_NPROC or the system's)"
        case errno.ENOMEM:
            return f"program {program}: there is not enough memory to start it"
    return f"program {program} cannot be started: {error.strerror}"


def spawn(
    argv: list[str], env: dict[str, str], *, cwd: str, stdout: int, stderr: int, user: tuple[int, int] | None = None
) -> int:
    """Starts the program as leader of its own session and process group; raises RequestError.

    As the user and group of those numbers, if given: with no other groups and no way back.
    """
    if user is not None:
        return _spawn_as(user, argv, env, cwd=cwd, stdout=stdout, stderr=stderr)
    try:
        # posix_spawn cannot change the directory; this process has one thread and needs no directory of its own.
        os.chdir(cwd)
    except OSError as error:
        raise RequestError(error.errno or 0, f"working directory {cwd}: {error.strerror}") from None
    try:
        return os.posix_spawn(
            argv[0],
            argv,
            env,
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, stdout, 1),
                (os.POSIX_SPAWN_DUP2, stderr, 2),
            ),
            setsid=True,
            setsigmask=(),
            setsigdef=IGNORED_SIGNALS,
        )
    except OSError as error:
        raise RequestError(error.errno or 0, explain_spawn_error(argv[0], error)) from None
    finally:
        os.chdir("/")


def _spawn_as(
    user: tuple[int, int], argv: list[str], env: dict[str, str], *, cwd: str, stdout: int, stderr: int
) -> int:
    # posix_spawn cannot change the user. A fork takes longer; this process has one thread, so that it is safe.
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            pid = os.fork()
        except OSError as error:
            raise RequestError(error.errno or 0, explain_spawn_error(argv[0], error)) from None
        if pid == 0:
            _become(user, argv, env, cwd=cwd, stdout=stdout, stderr=stderr, report=writer)
        os.close(writer)
        writer = -1
        with open(reader, "rb", closefd=False) as stream:
            report = stream.read()  # ends when the program has taken over
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    if not report:
        return pid
    os.waitpid(pid, 0)
    number, _, text = report.decode(errors="replace").partition(" ")
    raise RequestError(int(number), text)


def _become(
    user: tuple[int, int], argv: list[str], env: dict[str, str], *, cwd: str, stdout: int, stderr: int, report: int
) -> NoReturn:
    """In the child: the program takes over, or the reason why it does not is reported."""
    uid, gid = user
    doing = f"user {uid}"
    try:
        os.setsid()
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        forgo_privileges()
        doing = f"working directory {cwd}"
        os.chdir(cwd)
        doing = "output file"
        null = os.open("/dev/null", os.O_RDONLY)
        for fd, number in ((null, 0), (stdout, 1), (stderr, 2)):
            os.dup2(fd, number)
        for number in IGNORED_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        doing = ""
        os.execve(argv[0], argv, env)  # noqa: S606  # no shell is wanted
    except OSError as error:
        text = f"{doing}: {error.strerror}" if doing else explain_spawn_error(argv[0], error)
        os.write(report, f"{error.errno} {text}".encode(errors="replace"))
    except ValueError as error:
        os.write(report, f"{errno.EINVAL} request refused: {error}".encode(errors="replace"))
    finally:
        os._exit(127)
