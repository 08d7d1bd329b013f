"""The stream worker: one tail of the event log, and the reducers that are fed from it in the transaction of their positions.

Here belongs how the log is followed (`worker`), what a reducer is (`reducer`), and the reducers: guards are counted by
`guard_reducer`. Not here: what a count means (`rollout.guard`), or what a log or a store is (eventlog, opsstore).
"""

from gtm_dagster.stream.flag_watch import Watcher
from gtm_dagster.stream.guard_reducer import GuardReducer
from gtm_dagster.stream.reducer import Batch, Reducer, Start, Wanted
from gtm_dagster.stream.side_tasks import SideTasks
from gtm_dagster.stream.worker import Worker
from gtm_dagster.stream.worker_lock import StreamLock, WorkerRunningError

__all__ = [
    "Batch",
    "GuardReducer",
    "Reducer",
    "SideTasks",
    "Start",
    "StreamLock",
    "Wanted",
    "Watcher",
    "Worker",
    "WorkerRunningError",
]
