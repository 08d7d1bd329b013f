"""The HTTP edge: takes requests of events and answers success only after the event log's commit.

Here belong HTTP, write keys, limits, heartbeats and the protocols of senders. Not here: the verdict on an event
(admission) and what happens to it after the log.
"""

from gtm_dagster.collector.app import Collector, create_app
from gtm_dagster.collector.keys import KeyStore, KeyStoreError

__all__ = ["Collector", "KeyStore", "KeyStoreError", "create_app"]
