"""One writer of the warehouse: `warehouse.lock` in the state directory."""

from __future__ import annotations

from pathlib import Path

from gtm_dagster.storage.file_lock import KernelLock


class LockHeldError(Exception):
    """Somebody else writes the warehouse; the message names pid and purpose of the holder."""


class WarehouseLock(KernelLock):
    """`with WarehouseLock(state_dir).hold("gtm refresh", timeout_s=30): ...` raises LockHeldError."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(Path(state_dir) / "warehouse.lock")

    def refusal(self, timeout_s: float) -> LockHeldError:
        """Who writes it, and what to do."""
        return LockHeldError(
            f"the warehouse is being written by {self.holder()}; waited {timeout_s:g} s. "
            "Try again when it has finished, or raise refresh.lock_timeout_seconds."
        )
