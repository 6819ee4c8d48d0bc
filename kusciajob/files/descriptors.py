"""How many files the server may have open: as many as the system allows it. Programs of tasks keep the usual limit."""

import resource

_inherited_soft: list[int] = []


def raise_limit() -> None:
    """The soft limit becomes the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    _inherited_soft.append(soft)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit_of_programs() -> int:
    """The soft limit that this process was started with. Some programs misbehave below a high one."""
    return _inherited_soft[0] if _inherited_soft else resource.getrlimit(resource.RLIMIT_NOFILE)[0]
