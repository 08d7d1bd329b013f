"""The event log: append once, read after a position, commit a consumer; a log has an identity that its readers remember.

Here belongs durability, deduplication at the edge, offsets and whose they are, and the rule that ends each thing kept:
`trimming` (frames, ids, counts), `sealed_tables`, `group_commit` (heartbeats), `log_file` (acceptances); the readers'
offsets are a row each. `kafka` is the same over a topic (docs/kafka.md). Not here: what an event means, or when it is landed.
"""

from gtm_dagster.admission.record import LANDING_COLUMNS, Record
from gtm_dagster.eventlog.log import (
    Acceptance,
    AppendResult,
    EventLog,
    EventLogError,
    Heartbeat,
    LogChangedError,
    Position,
    Refusal,
    Spooling,
)
from gtm_dagster.eventlog.opening import log_exists, log_place, open_log

__all__ = [
    "LANDING_COLUMNS",
    "Acceptance",
    "AppendResult",
    "EventLog",
    "EventLogError",
    "Heartbeat",
    "LogChangedError",
    "Position",
    "Record",
    "Refusal",
    "Spooling",
    "log_exists",
    "log_place",
    "open_log",
]
