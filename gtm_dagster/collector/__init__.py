"""The HTTP edge: takes events, judges each one, and answers success only after the log's commit.

Here belongs HTTP, write keys, limits and the verdict on an event. Not here: what happens to an event after the log.
"""

from gtm_dagster.collector.app import Collector, create_app
from gtm_dagster.collector.keys import KeyStore, KeyStoreError

__all__ = ["Collector", "KeyStore", "KeyStoreError", "create_app"]
