"""Starts one program, or says what cannot be started and why."""

import errno
import os
import signal

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


def spawn(argv: list[str], env: dict[str, str], *, cwd: str, stdout: int, stderr: int) -> int:
    """Starts the program as leader of its own session and process group; raises RequestError."""
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
