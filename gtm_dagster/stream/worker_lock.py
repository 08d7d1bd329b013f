"""One stream worker a deployment: `stream.lock` in the state directory."""

from __future__ import annotations

from pathlib import Path

from gtm_dagster.storage.file_lock import KernelLock


class WorkerRunningError(Exception):
    """Another stream worker counts for this deployment; the message names it."""


class StreamLock(KernelLock):
    """`with StreamLock(state_dir).hold("gtm stream", timeout_s=2): ...` raises WorkerRunningError."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(Path(state_dir) / "stream.lock")

    def refusal(self, timeout_s: float) -> WorkerRunningError:
        """Who counts, and what to do."""
        return WorkerRunningError(
            f"a stream worker runs already: {self.holder()}; stop it first, or leave the work to it"
        )
