"""The worker that tails the event log and counts for the guards: one offset, one transaction.

Here belongs what turns log records into counts, and the watermark. Not here: what the counts mean (`rollout.guard`).
"""

from gtm_dagster.stream.flag_watch import Watcher
from gtm_dagster.stream.side_tasks import Beside
from gtm_dagster.stream.worker import Worker
from gtm_dagster.stream.worker_lock import StreamLock, WorkerRunningError

__all__ = ["Beside", "StreamLock", "Watcher", "Worker", "WorkerRunningError"]
