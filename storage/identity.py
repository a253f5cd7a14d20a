"""Who a worker is: a process on a host, told apart from an earlier one with the same number."""

import hashlib
import os
import platform
from functools import cache
from pathlib import Path

import psutil

BOOT = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE = Path("/proc/self/ns/pid")


def me() -> str:
    """The process at work as ``host/pid/start/place``.

    start: when it began, in clock ticks since the host did, where there is a /proc. place: of the boot and of the pid
    namespace (a container has its own), so that a number is asked for only where it means the same process.
    """
    return _name(os.getpid())


def is_gone(worker: str) -> bool:
    """Whether a worker's process is known to have ended. Of one elsewhere nobody here can tell: then False."""
    host, _, rest = worker.partition("/")
    parts = rest.split("/")
    if host != platform.node() or len(parts) < 2 or not parts[0].isdecimal():
        return False
    pid, start = int(parts[0]), parts[1]
    if len(parts) == 2:  # as versions 1 to 4 of the store named them
        return _old_start(pid) != start
    return parts[2] == _place(os.getpid()) and _start(pid) != start


def _start(pid: int) -> str | None:
    """When a process began; None if there is none of the number, or it is dead and only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except FileNotFoundError:
        return None if BOOT.exists() else _old_start(pid)
    except ProcessLookupError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _old_start(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


@cache
def _name(pid: int) -> str:
    """Of this process; asked for by its number, because a fork is another."""
    return f"{platform.node()}/{pid}/{_start(pid)}/{_place(pid)}"


@cache
def _place(_: int) -> str:
    """Of this process; asked for by its number, because a fork may be in another namespace."""
    try:
        known = f"{BOOT.read_text(encoding='utf-8').strip()} {NAMESPACE.readlink()}"
    except OSError:  # no Linux
        known = f"{platform.node()}"
    return hashlib.blake2b(known.encode(), digest_size=4).hexdigest()
