"""Which records were received and are not in the log yet, as every process that takes some tells those who read the log.

A reader that finds nothing before T, and then reads the log to its end, has every record received before T: nobody needs
to wait for as long as a commit may take. Each process has a file of 8 bytes in a folder beside the log, mapped into its
memory: the moment before which it has received nothing that is still on its way, NOTHING while none is. It is written
before the clock is read for a receipt, and again once the log has answered; to write it costs no system call. The file is
locked for as long as its process lives, so that one that was killed is told from one that takes its time.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from gtm_dagster.storage.private_dir import private_dir

NOTHING = 2**63 - 1
KILLED_US = 5_000_000
"""What a killed process had handed to the log's writer is committed, or lost with its connection, after 5 s."""
_PREFIX = "receipts-"
_VALUE = struct.Struct("=q")


def receipts_folder(log_path: Path) -> Path:
    """The folder of the log at `log_path`."""
    return log_path.with_name(_PREFIX + log_path.name)


class Receipt:
    """Records received at `since_us` or later that are on their way to the log, until `arrived`, once for each part."""

    __slots__ = ("_of", "parts", "since_us")

    def __init__(self, of: Receipts | None, since_us: int) -> None:
        self._of, self.since_us, self.parts = of, since_us, 1

    def arrived(self) -> None:
        """A part of the records is in the log, or will never be."""
        self.parts -= 1
        if self.parts == 0 and self._of is not None:
            self._of.arrived(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.arrived()


def unannounced() -> Receipt:
    """A receipt that no reader waits for."""
    return Receipt(None, 0)


class Receipts:
    """Those of who takes records for the log at `log_path`, from any thread of one process; the file is made with the first."""

    def __init__(self, log_path: Path, clock: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self._folder, self._clock = receipts_folder(log_path), clock
        self._lock = threading.Lock()
        self._under_way: OrderedDict[int, Receipt] = OrderedDict()
        self._file: Path | None = None
        self._descriptor = -1
        self._memory: mmap.mmap | None = None

    def receiving(self) -> Receipt:
        """Announce a receipt: read the clock for its records after this. Raises OSError when the file cannot be made."""
        with self._lock:
            if self._memory is None:
                self._open()
            receipt = Receipt(self, self._clock())
            self._under_way[id(receipt)] = receipt
            if len(self._under_way) == 1:
                self._tell(receipt.since_us)
        return receipt

    def arrived(self, receipt: Receipt) -> None:
        """As `Receipt.arrived` calls it."""
        with self._lock:
            del self._under_way[id(receipt)]
            oldest = next(iter(self._under_way.values()), None)
            self._tell(NOTHING if oldest is None else oldest.since_us)

    def close(self) -> None:
        """Take the file away; records that are still under way are not waited for any more."""
        with self._lock:
            if self._memory is not None:
                self._memory.close()
                self._memory = None
                if self._file is not None:
                    self._file.unlink(missing_ok=True)
                os.close(self._descriptor)

    def _tell(self, us: int) -> None:
        if self._memory is not None:
            _VALUE.pack_into(self._memory, 0, us)

    def _open(self) -> None:
        import fcntl  # here: there is none on Windows, where nothing follows the log by its receipts

        private_dir(self._folder)
        _sweep(self._folder)
        place = self._folder / uuid4().hex
        self._descriptor = os.open(place.with_suffix(".new"), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            os.write(self._descriptor, _VALUE.pack(NOTHING))
            self._memory = mmap.mmap(self._descriptor, _VALUE.size)
            place.with_suffix(".new").rename(place)  # readers see it locked, and with its value
        except OSError:
            os.close(self._descriptor)
            raise
        self._file = place


class Settled:
    """A reader's view of the receipts of the log at `log_path`."""

    def __init__(self, log_path: Path, clock: Callable[[], int]) -> None:
        self._folder, self._clock = receipts_folder(log_path), clock

    def us(self) -> int:
        """A moment (microseconds UTC): what was received before it is in the log, for a reader that reads it after this call.

        The clock is read first: who announces a receipt after that receives later than that.
        """
        settled = self._clock()
        try:
            names = os.listdir(self._folder)  # noqa: PTH208 - a hundred times a second
        except FileNotFoundError:
            return settled
        for name in names:
            if "." not in name:
                settled = min(settled, self._of(name, settled))
        return settled

    def _of(self, name: str, now_us: int) -> int:
        try:
            descriptor = os.open(f"{self._folder}/{name}", os.O_RDWR)
        except FileNotFoundError:  # its process ended just now
            return now_us
        try:
            since_us = int(_VALUE.unpack(os.pread(descriptor, _VALUE.size, 0))[0])
            if now_us - since_us > KILLED_US and _is_free(descriptor):
                (self._folder / name).unlink(missing_ok=True)
                return now_us
            return since_us
        finally:
            os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Take the files of processes away that were killed with nothing under way; a name with a dot is not locked yet."""
    for place in folder.iterdir():
        with suppress(OSError):
            descriptor = os.open(place, os.O_RDWR)
            try:
                is_idle = os.pread(descriptor, _VALUE.size, 0) == _VALUE.pack(NOTHING)
                if "." not in place.name and is_idle and _is_free(descriptor):
                    place.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    """Whether nobody holds the lock of a file: its process is gone."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
