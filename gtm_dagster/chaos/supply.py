"""Traffic of an experiment: simulated rows in slices, as files for the import and as records of the log."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from gtm_dagster.admission.single_event import Judge
from gtm_dagster.chaos.throwaway import ThrowAway
from gtm_dagster.eventlog import open_log
from gtm_dagster.importing import import_file
from gtm_dagster.privacy.consent import consent_policy
from gtm_dagster.privacy.pseudonyms import Pseudonymizer, load_or_create_key
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.simulator.traffic import as_event, simulate
from gtm_dagster.warehouse.landing import Landing

DAYS = 20


class Supply:
    """Rows in order of arrival, each used once.

    `taken` counts rows used, `expected` the rows the books must show for them: all but those whose id the log had
    already.
    """

    def __init__(self, deployment: ThrowAway, rows: int, seed: int) -> None:
        self._deployment = deployment
        self._table: pa.Table = simulate(rows, DAYS, seed).events
        self._numbers = itertools.count(1)
        self.taken = self.expected = 0
        key = load_or_create_key(deployment.settings.keys_dir, None)
        self._pseudonymize, self._sealer = Pseudonymizer(key), Sealer(key)
        self._judge = Judge(
            deployment.plan,
            self._pseudonymize,
            self._sealer,
            deployment.settings.collector.max_event_bytes,
            consent_policy(deployment.settings.privacy.consent),
            undeclared_text=deployment.settings.privacy.undeclared_text,
        )

    @property
    def left(self) -> int:
        """Rows not used yet."""
        return self._table.num_rows - self.taken

    def take(self, rows: int) -> pa.Table:
        """The next rows."""
        rows_taken = self._table.slice(self.taken, rows)
        self.taken += rows_taken.num_rows
        return rows_taken

    def file(self, rows: int) -> Path:
        """The next rows as a Parquet file for `gtm import`; a whole import of it is expected."""
        path = self._deployment.folder / "files" / f"{next(self._numbers):05d}.parquet"
        path.parent.mkdir(exist_ok=True)
        table = self.take(rows)
        parquet.write_table(table, path)
        self.expected += table.num_rows
        return path

    def land(self, rows: int) -> None:
        """Import the next rows."""
        import_file(
            self.file(rows), landing=Landing(self._deployment.settings.landing_dir), plan=self._deployment.plan,
            pseudonymize=self._pseudonymize, sealer=self._sealer, write_key="import", consent=consent_policy(self._deployment.settings.privacy.consent),
        )  # fmt: skip

    def log(self, rows: int) -> None:
        """Append the next rows to the event log, admitted as the collector admits them; duplicates stay at the edge."""
        with open_log(self._deployment.settings) as log:
            taken = self.take(rows).to_pylist()
            for start in range(0, len(taken), 500):
                events = [json.dumps(as_event(row)).encode() for row in taken[start : start + 500]]
                judged = self._judge(events, write_key="dev", received_us=time.time_ns() // 1000)
                refused = log.append([one.record for one in judged]).duplicates
                self.expected += len(events) - refused
