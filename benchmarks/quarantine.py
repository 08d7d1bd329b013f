"""What `gtm quarantine list` and the dashboard's groups cost beside a large quarantine and many staged events.

`python -m benchmarks.quarantine --refused 1000000 --staged 10000000`: rows of 30 days, refused in 200 groups of reasons, a
tenth of them accepted since; `--old` adds staged events of the time before, which cost nothing where they are long ago.
"""

from __future__ import annotations

import argparse
import tempfile

import duckdb
import pyarrow as pa

from benchmarks.measuring import Meter, machine, table
from gtm_dagster.dashboard.screens.tracking import EXAMPLES, VALUES
from gtm_dagster.settings import Settings, load_settings
from gtm_dagster.warehouse.landing import ARROW_SCHEMA, Landing
from gtm_dagster.warehouse.quarantine_groups import groups, masked_values
from gtm_dagster.warehouse.quarantined import quarantine_now

_START_US = 1_767_225_600_000_000
_DAY_US = 86_400_000_000
_DAYS = 30
_GROUPS_SHOWN = 20


def _fill(settings: Settings, refused: int, staged: int, old: int) -> None:
    """A working file as a refresh leaves it: `staged` events received in the days of the refused rows, `old` before them."""
    landing = Landing(settings.landing_dir)
    row = {"write_key": "web", "event_name": "page_viewed", "received_us": _START_US, "verdict": "suppressed"}
    landing.write(pa.Table.from_pylist([row], schema=ARROW_SCHEMA), "import-one")
    with duckdb.connect(str(settings.warehouse_path)) as con:
        con.execute("SET threads = 2; CREATE SCHEMA staging; CREATE SCHEMA meta")
        con.execute("CREATE TABLE meta.landing_files (file_key VARCHAR)")
        con.execute(
            """CREATE TABLE staging.quarantine AS SELECT 'web' AS write_key, md5(i::VARCHAR) AS event_id,
          'event ' || (i % 8) AS event_name, 'type' AS reason_codes,
          '[{"path": "properties.p' || (i % 25) || '", "code": "type", "message": "is no number"}]' AS errors,
          '{"event_name": "x", "properties": {"p' || (i % 25) || '": "' || (i % 500) || '"}}' AS raw,
          make_timestamp(us) AS received_at, us AS received_us, '1-0-2' AS plan_version, 'log' AS origin,
          '2026-01-01/log-1' AS file_key, i AS row_no, NULL::VARCHAR AS bot_reason
        FROM (SELECT i, $1 + i * $2 AS us FROM range($3) rows(i))""",
            [_START_US, _DAYS * _DAY_US // refused, refused],
        )
        con.execute(
            """CREATE TABLE staging.events AS SELECT 'web' AS write_key, md5(CASE WHEN i < $4 THEN 'old ' || i ELSE (i - $4 + $3)::VARCHAR END) AS event_id,
          $1 + (i - $4) * $2 AS received_us FROM range($5) rows(i)""",
            [_START_US, _DAYS * _DAY_US // staged, refused * 9 // 10, old, staged + old],
        )


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--refused", type=int, default=1_000_000)
    options.add_argument("--staged", type=int, default=10_000_000)
    options.add_argument("--old", type=int, default=0, help="staged events of the time before")
    given = options.parse_args()
    meter = Meter()
    with tempfile.TemporaryDirectory(prefix="gtm-quarantine-") as folder:
        settings = load_settings(None, {"GTM_STATE_DIR": folder})
        _fill(settings, given.refused, given.staged, given.old)
        now_us = _START_US + _DAYS * _DAY_US
        opened = quarantine_now(settings, accepted=True)
        con = meter.work("the quarantine as it is now, with what is accepted since", opened.__enter__, given.refused)
        found = meter.work("its groups", lambda: groups(con, now_us), given.refused)
        with meter.measured(f"values of {_GROUPS_SHOWN} groups, for what is suggested", given.refused):
            for group in found[:_GROUPS_SHOWN]:
                masked_values(con, group, group.reasons[0][1])
        opened.__exit__(None, None, None)
        assert sum(group.accepted_since for group in found) == given.refused // 10
        with duckdb.connect(str(settings.warehouse_path), read_only=True) as con:
            con.execute("SET threads = 2")
            for chart in (EXAMPLES, VALUES):
                statement = chart.text.replace("$from", "DATE '2026-01-01'").replace("$to", "DATE '2026-01-30'")
                meter.work(f"the dashboard's {chart.name}", lambda: con.execute(statement).fetchall(), given.refused)  # noqa: B023 - called at once
    print(machine(("duckdb",)) + "\n")
    print(table(meter.costs))


if __name__ == "__main__":
    main()
