"""The worker that tails the event log and counts for the guards: one offset, one transaction.

Here belongs what turns log records into counts, and the watermark. Not here: what the counts mean (`rollout.guard`).
"""

from gtm_dagster.stream.beside import Beside
from gtm_dagster.stream.lock import StreamLock, WorkerRunningError
from gtm_dagster.stream.watching import Watcher
from gtm_dagster.stream.worker import Worker

__all__ = ["Beside", "StreamLock", "Watcher", "Worker", "WorkerRunningError"]
