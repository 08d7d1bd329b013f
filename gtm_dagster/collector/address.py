"""Where a deployment's collector listens: a file in the state directory, written while it runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from gtm_dagster.storage.atomic_write import write_whole

ADDRESS_FILE = "collector.json"


class Address(msgspec.Struct, frozen=True):
    """`url` that programs on this machine reach the collector by; `pid` of its process, and when that `started`.

    `started` is the kernel's own word for it, empty where it says none: a later process may get the same pid.
    """

    url: str
    pid: int
    started: str = ""


@contextmanager
def announced(state_dir: Path, url: str) -> Iterator[None]:
    """Let `running_address` find this process at `url` until the end of the `with`."""
    path = Path(state_dir) / ADDRESS_FILE
    own = Address(url, os.getpid(), _started(os.getpid()))
    write_whole(path, msgspec.json.encode(own) + b"\n", mode=0o600)
    try:
        yield
    finally:
        if _stored(path) == own:  # a later collector of this state directory keeps its own
            path.unlink(missing_ok=True)


def running_address(state_dir: Path) -> str | None:
    """The URL of the deployment's running collector; None when there is none, or it was killed."""
    address = _stored(Path(state_dir) / ADDRESS_FILE)
    return address.url if address is not None and _runs(address) else None


def _stored(path: Path) -> Address | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Address)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _runs(address: Address) -> bool:
    if address.pid <= 0:
        return False
    try:
        os.kill(address.pid, 0)
    except PermissionError:
        pass  # it runs under another account
    except (OSError, OverflowError):
        return False
    return not address.started or _started(address.pid) in ("", address.started)


def _started(pid: int) -> str:
    """Boot and clock tick at which a process started (proc(5), field 22); empty where there is no /proc.

    "ended" for one that is dead and that its parent has not waited for yet.
    """
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return "ended" if fields[0] == "Z" else f"{boot}/{fields[19]}"
    return ""
