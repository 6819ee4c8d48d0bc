"""What a server has taken of memory and disk."""

from pathlib import Path

from tests.support.server import RunningServer

MIB = 1 << 20


def peak_bytes(server: RunningServer) -> int:
    """The most memory that the present process has had."""
    (line,) = (line for line in _status(server) if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def forget_peak(server: RunningServer) -> int:
    """Begin anew with what the process has now, and tell that."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    return peak_bytes(server)


def database_bytes(server: RunningServer) -> int:
    """What the file of jobs takes, with what is yet to be moved into it."""
    return sum(file.stat().st_size for file in server.data_dir.glob("jobs.db*"))


def _status(server: RunningServer) -> list[str]:
    return Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
