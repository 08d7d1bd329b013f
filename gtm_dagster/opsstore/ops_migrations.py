"""The migrations of the ops store, in order, on SQLite and PostgreSQL; `ops_tables.py` declares what they come to.

A migration that has been released is never edited: a new store runs all of them, an older one those it has not seen.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from sqlalchemy import Connection, inspect, select, text, update

from gtm_dagster.opsstore import ops_tables
from gtm_dagster.opsstore.database import OpsStoreError
from gtm_dagster.storage.migrations import Migration, migrate

# A store from before migrations were recorded: meta.version is 1, and its tables are these.
_INITIAL = (
    """CREATE TABLE meta ("key" TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY ("key"))""",
    """CREATE TABLE stream_offsets (consumer TEXT NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (consumer))""",
    """CREATE TABLE producers (name TEXT NOT NULL, ts_us BIGINT NOT NULL, received_us BIGINT NOT NULL, PRIMARY KEY (name))""",
    """CREATE TABLE guards (guard TEXT NOT NULL, flag TEXT NOT NULL, conversion TEXT NOT NULL, environment TEXT NOT NULL,
      state TEXT NOT NULL, version BIGINT NOT NULL, epoch BIGINT NOT NULL, epoch_since_us BIGINT, episode TEXT,
      fingerprint TEXT, changed_us BIGINT NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (guard))""",
    """CREATE TABLE guard_epochs (guard TEXT NOT NULL, epoch BIGINT NOT NULL, since_us BIGINT NOT NULL,
      PRIMARY KEY (guard, epoch))""",
    """CREATE TABLE guard_units (guard TEXT NOT NULL, unit TEXT NOT NULL, epoch BIGINT NOT NULL, arm TEXT NOT NULL,
      exposed_us BIGINT NOT NULL, converted_us BIGINT, PRIMARY KEY (guard, unit, epoch)) {without_rowid}""",
    """CREATE TABLE guard_conversions (guard TEXT NOT NULL, unit TEXT NOT NULL, event_us BIGINT NOT NULL,
      PRIMARY KEY (guard, unit, event_us)) {without_rowid}""",
    """CREATE INDEX guard_conversions_age ON guard_conversions (guard, event_us)""",
    """CREATE TABLE guard_counts (guard TEXT NOT NULL, epoch BIGINT NOT NULL, slot BIGINT NOT NULL, arm TEXT NOT NULL,
      age BIGINT NOT NULL, n BIGINT NOT NULL, PRIMARY KEY (guard, epoch, slot, arm, age)) {without_rowid}""",
    """CREATE TABLE guard_flags (guard TEXT NOT NULL, enabled BOOLEAN NOT NULL, share FLOAT, fingerprint TEXT NOT NULL,
      seen_us BIGINT NOT NULL, changed_us BIGINT NOT NULL, PRIMARY KEY (guard))""",
    """CREATE TABLE guard_shares (guard TEXT NOT NULL, since_us BIGINT NOT NULL, share FLOAT NOT NULL,
      PRIMARY KEY (guard, since_us))""",
    """CREATE TABLE guard_history (id {serial} NOT NULL, guard TEXT NOT NULL, version BIGINT NOT NULL,
      from_state TEXT NOT NULL, to_state TEXT NOT NULL, at_us BIGINT NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL,
      detail TEXT, digest TEXT NOT NULL, PRIMARY KEY (id), UNIQUE (guard, version))""",
    """CREATE TABLE rollbacks (episode TEXT NOT NULL, guard TEXT NOT NULL, flag TEXT NOT NULL, environment TEXT NOT NULL,
      provider TEXT NOT NULL, epoch BIGINT NOT NULL, attempt BIGINT NOT NULL, decided_us BIGINT, intent_us BIGINT,
      acked_us BIGINT, effective_us BIGINT, last_exposure_us BIGINT, estimate FLOAT, low FLOAT, high FLOAT, log_e FLOAT,
      log_budget FLOAT, verified BOOLEAN NOT NULL, dry_run BOOLEAN NOT NULL, outcome TEXT, actor TEXT, reason TEXT,
      run_id TEXT, bundle TEXT, PRIMARY KEY (episode))""",
    """CREATE TABLE notifications (id TEXT NOT NULL, episode TEXT NOT NULL, sink TEXT NOT NULL, payload TEXT NOT NULL,
      status TEXT NOT NULL, attempts BIGINT NOT NULL, next_us BIGINT NOT NULL, last_error TEXT, created_us BIGINT NOT NULL,
      delivered_us BIGINT, PRIMARY KEY (id))""",
    """CREATE INDEX notifications_due ON notifications (status, next_us)""",
    """INSERT INTO meta VALUES ('version', '1')""",
)

# A position says which log it is in, and when the record there was received; "" is a log from before logs had an identity.
_LOG_OF_POSITIONS = (
    """ALTER TABLE stream_offsets ADD COLUMN log_id TEXT NOT NULL DEFAULT ''""",
    """ALTER TABLE stream_offsets ADD COLUMN received_us BIGINT""",
)

# What a guard was counted by stood among the positions, as `epoch:KEY` and `rule:KEY`.
_GUARD_PROGRESS = (
    """CREATE TABLE guard_progress (guard TEXT NOT NULL, epoch BIGINT NOT NULL, rule BIGINT NOT NULL, PRIMARY KEY (guard))""",
    """INSERT INTO guard_progress SELECT substr(e.consumer, 7), e.seq, r.seq FROM stream_offsets e
      JOIN stream_offsets r ON r.consumer = 'rule:' || substr(e.consumer, 7) WHERE substr(e.consumer, 1, 6) = 'epoch:'""",
    """DELETE FROM stream_offsets WHERE substr(consumer, 1, 6) = 'epoch:' OR substr(consumer, 1, 5) = 'rule:'""",
)

# Counts and units get an end: old cells are folded into one row a step of the plan and arm, units into their fingerprint.
# The worker folds what there is, slice by slice.
_FOLDED_COUNTS = (
    """CREATE TABLE guard_folded (guard TEXT NOT NULL, epoch BIGINT NOT NULL, from_slot BIGINT NOT NULL, arm TEXT NOT NULL,
      first_slot BIGINT NOT NULL, last_slot BIGINT NOT NULL, exposed BIGINT NOT NULL, converted BIGINT NOT NULL,
      age_slots BIGINT NOT NULL, PRIMARY KEY (guard, epoch, from_slot, arm)) {without_rowid}""",
    """CREATE TABLE guard_units_ended (guard TEXT NOT NULL, epoch BIGINT NOT NULL, before_us BIGINT NOT NULL,
      PRIMARY KEY (guard, epoch))""",
    """CREATE TABLE guard_units_known (guard TEXT NOT NULL, epoch BIGINT NOT NULL, day BIGINT NOT NULL, unit BIGINT NOT NULL,
      PRIMARY KEY (guard, epoch, day, unit)) {without_rowid}""",
    """CREATE TABLE guard_left_out (guard TEXT NOT NULL, epoch BIGINT NOT NULL, records BIGINT NOT NULL,
      PRIMARY KEY (guard, epoch))""",
    """CREATE INDEX guard_units_age ON guard_units (guard, exposed_us)""",
)

# A message is sent by one deliverer at a time; the lease of one that was killed ends.
_OUTBOX_LEASE = ("""ALTER TABLE notifications ADD COLUMN lease_us BIGINT""",)

# Readers of the ledger need the digest of the evidence, not the megabytes themselves.
_ROLLBACK_DIGEST = """ALTER TABLE rollbacks ADD COLUMN bundle_sha256 TEXT"""

# An epoch is decided by the rule it was armed with; those from before have none, and the settings decide.
_EPOCH_RULE = ("""ALTER TABLE guard_epochs ADD COLUMN rule TEXT""",)
# Conversions that match nobody, refused and suppressed records, and who sent what counts.
_RECORDS = (
    """CREATE TABLE guard_records (guard TEXT NOT NULL, step BIGINT NOT NULL, name TEXT NOT NULL, n BIGINT NOT NULL,
      PRIMARY KEY (guard, step, name)) {without_rowid}""",
)

# A producer is its write key's; the rows of before are written anew with the next heartbeats.
_KEYED_PRODUCERS = (
    """CREATE TABLE keyed_producers (name TEXT NOT NULL, ts_us BIGINT NOT NULL, received_us BIGINT NOT NULL,
      write_key TEXT NOT NULL, skew_us BIGINT, PRIMARY KEY (name, write_key))""",
    """INSERT INTO keyed_producers SELECT name, ts_us, received_us, '', NULL FROM producers""",
    """DROP TABLE producers""",
    """ALTER TABLE keyed_producers RENAME TO producers""",
)

# A payment by user id counts for the unit that was exposed by its anonymous id.
_LINKS = (
    """CREATE TABLE guard_links (guard TEXT NOT NULL, anonymous_id TEXT NOT NULL, user_id TEXT NOT NULL,
      event_us BIGINT NOT NULL, PRIMARY KEY (guard, anonymous_id, user_id)) {without_rowid}""",
    """CREATE INDEX guard_links_user ON guard_links (guard, user_id)""",
    """CREATE INDEX guard_links_age ON guard_links (guard, event_us)""",
)

# An alerting system asks for a rollback; a run carries it out.
_REQUESTS = (
    """CREATE TABLE guard_requests (guard TEXT NOT NULL, epoch BIGINT NOT NULL, episode TEXT NOT NULL, actor TEXT NOT NULL,
      reason TEXT NOT NULL, asked_us BIGINT NOT NULL, times BIGINT NOT NULL, last_us BIGINT NOT NULL, refused TEXT,
      PRIMARY KEY (guard, epoch))""",
)

# Several metrics a guard, segments that are shown, and which metric a rollback is of.
_METRICS = (
    """ALTER TABLE guard_units ADD COLUMN outcomes TEXT""",
    """ALTER TABLE guard_units ADD COLUMN segment TEXT""",
    """ALTER TABLE rollbacks ADD COLUMN metric TEXT""",
    """CREATE TABLE guard_metric_events (guard TEXT NOT NULL, metric TEXT NOT NULL, unit TEXT NOT NULL,
      event_us BIGINT NOT NULL, value BIGINT NOT NULL, PRIMARY KEY (guard, metric, unit, event_us, value)) {without_rowid}""",
    """CREATE INDEX guard_metric_events_age ON guard_metric_events (guard, event_us)""",
    """CREATE INDEX guard_metric_events_unit ON guard_metric_events (guard, unit)""",
    """CREATE TABLE guard_metric_counts (guard TEXT NOT NULL, epoch BIGINT NOT NULL, metric TEXT NOT NULL, slot BIGINT NOT NULL,
      arm TEXT NOT NULL, age BIGINT NOT NULL, n BIGINT NOT NULL, PRIMARY KEY (guard, epoch, metric, slot, arm, age)) {without_rowid}""",
    """CREATE TABLE guard_segments (guard TEXT NOT NULL, epoch BIGINT NOT NULL, kind TEXT NOT NULL, segment TEXT NOT NULL,
      arm TEXT NOT NULL, exposed BIGINT NOT NULL, converted BIGINT NOT NULL, PRIMARY KEY (guard, epoch, kind, segment, arm))""",
)

# A ramp raises the share of a flag step by step: who approved a step, what was intended, and what was taken.
_RAMP_STEPS = (
    """CREATE TABLE ramp_steps (guard TEXT NOT NULL, epoch BIGINT NOT NULL, number BIGINT NOT NULL, id TEXT NOT NULL,
      to_share FLOAT, from_share FLOAT, state TEXT NOT NULL, approved_by TEXT, approval_reason TEXT, approved_us BIGINT,
      run_id TEXT, attempt BIGINT NOT NULL, intent_us BIGINT, taken_us BIGINT, fingerprint TEXT, evidence TEXT, note TEXT,
      PRIMARY KEY (guard, epoch, number))""",
)


def _rollback_digest(con: Connection) -> None:
    con.exec_driver_sql(_ROLLBACK_DIGEST)
    for (episode,) in con.exec_driver_sql("SELECT episode FROM rollbacks WHERE bundle IS NOT NULL").all():
        bundle = con.execute(text("SELECT bundle FROM rollbacks WHERE episode = :e"), {"e": episode}).scalar_one()
        values = {"d": hashlib.sha256(bundle.encode()).hexdigest(), "e": episode}
        con.execute(text("UPDATE rollbacks SET bundle_sha256 = :d WHERE episode = :e"), values)


def _step(name: str, statements: tuple[str, ...]) -> Migration[Connection]:
    def apply(con: Connection) -> None:
        sqlite = con.dialect.name == "sqlite"
        for statement in statements:
            con.exec_driver_sql(
                statement.replace("{serial}", "INTEGER" if sqlite else "BIGSERIAL").replace(
                    "{without_rowid}", "WITHOUT ROWID" if sqlite else ""
                )
            )

    return Migration(name, apply)


MIGRATIONS = (
    _step("0001_initial", _INITIAL),
    _step("0002_log_of_positions", _LOG_OF_POSITIONS),
    _step("0003_guard_progress", _GUARD_PROGRESS),
    _step("0004_folded_counts", _FOLDED_COUNTS),
    _step("0005_outbox_lease", _OUTBOX_LEASE),
    Migration("0006_rollback_digest", _rollback_digest),
    _step("0007_epoch_rule", _EPOCH_RULE),
    _step("0008_guard_records", _RECORDS),
    _step("0009_keyed_producers", _KEYED_PRODUCERS),
    _step("0010_guard_links", _LINKS),
    _step("0011_guard_metrics", _METRICS),
    _step("0012_ramp_steps", _RAMP_STEPS),
    _step("0013_guard_requests", _REQUESTS),
)


def _recorded(con: Connection) -> list[str] | None:
    """The recorded migrations; None when the store does not record them."""
    if not inspect(con).has_table(ops_tables.migrations.name):
        return None
    return list(con.execute(select(ops_tables.migrations.c.name).order_by(ops_tables.migrations.c.name)).scalars())


def applied(con: Connection, address: object) -> list[str]:
    """Names of the migrations the store at `address` has seen; one from before they were recorded has seen the first.

    Raises OpsStoreError when its tables are of no version that was ever released.
    """
    names = _recorded(con)
    if names is not None:
        return names
    if not inspect(con).has_table(ops_tables.meta.name):
        return []
    version = con.execute(select(ops_tables.meta.c.value).where(ops_tables.meta.c.key == "version")).scalar()
    if version != "1":
        # PostgreSQL reads what is committed at each statement: another program may have migrated between the two.
        names = _recorded(con)
        if names is not None:
            return names
        raise OpsStoreError(
            f"{address}: its tables are of version {version} without a record of migrations, which no gtm-dagster writes; "
            "restore the store from a backup, or name another ops_url"
        )
    return [MIGRATIONS[0].name]


def bring_up(con: Connection, address: object) -> list[str]:
    """Apply the migrations the store has not seen; returns their names.

    `con` is in a transaction that keeps other programs out. Raises NewerFormatError and OpsStoreError.
    """
    seen = applied(con, address)
    con.exec_driver_sql(
        "CREATE TABLE IF NOT EXISTS migrations (name TEXT NOT NULL, applied_at TEXT NOT NULL, PRIMARY KEY (name))"
    )
    for name in set(seen) - set(applied(con, address)):
        _record(con, name)
    return migrate(con, MIGRATIONS, address, lambda con: applied(con, address), _record)


def _record(con: Connection, name: str) -> None:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    con.execute(ops_tables.migrations.insert().values(name=name, applied_at=at))
    # Programs from before migrations compare this value alone, and refuse any but 1.
    con.execute(update(ops_tables.meta).where(ops_tables.meta.c.key == "version").values(value=str(int(name[:4]))))
