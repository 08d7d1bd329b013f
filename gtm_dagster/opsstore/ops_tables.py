"""The tables of the ops store as the newest migration leaves them. Columns named `*_us` are microseconds UTC."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()


def _text(name: str, *, key: bool = False, null: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=key, nullable=null)


def _int(name: str, *, key: bool = False, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, nullable=null, autoincrement=False)


def _real(name: str) -> Column[float]:
    return Column(name, Float, nullable=True)


meta = Table("meta", metadata, _text("key", key=True), _text("value"))

migrations = Table("migrations", metadata, _text("name", key=True), _text("applied_at"))

stream_offsets = Table(
    "stream_offsets",
    metadata,
    _text("consumer", key=True),
    _int("seq"),
    Column("log_id", Text, nullable=False, server_default=""),
    _int("received_us", null=True),
)

producers = Table(
    "producers",
    metadata,
    _text("name", key=True),
    _int("ts_us"),
    _int("received_us"),
    _text("write_key", key=True),
    _int("skew_us", null=True),
)

guards = Table(
    "guards",
    metadata,
    _text("guard", key=True),
    _text("flag"),
    _text("conversion"),
    _text("environment"),
    _text("state"),
    _int("version"),
    _int("epoch"),
    _int("epoch_since_us", null=True),
    _text("episode", null=True),
    _text("fingerprint", null=True),
    _int("changed_us"),
    _text("actor"),
    _text("reason"),
)

guard_epochs = Table(
    "guard_epochs",
    metadata,
    _text("guard", key=True),
    _int("epoch", key=True),
    _int("since_us"),
    _text("rule", null=True),
)

guard_progress = Table("guard_progress", metadata, _text("guard", key=True), _int("epoch"), _int("rule"))

guard_units = Table(
    "guard_units",
    metadata,
    _text("guard", key=True),
    _text("unit", key=True),
    _int("epoch", key=True),
    _text("arm"),
    _int("exposed_us"),
    _int("converted_us", null=True),
    _text("outcomes", null=True),
    _text("segment", null=True),
    Index("guard_units_age", "guard", "exposed_us"),
    sqlite_with_rowid=False,
)

guard_units_ended = Table(
    "guard_units_ended",
    metadata,
    _text("guard", key=True),
    _int("epoch", key=True),
    _int("before_us"),
)

guard_units_known = Table(
    "guard_units_known",
    metadata,
    _text("guard", key=True),
    _int("epoch", key=True),
    _int("day", key=True),
    _int("unit", key=True),
    sqlite_with_rowid=False,
)

guard_conversions = Table(
    "guard_conversions",
    metadata,
    _text("guard", key=True),
    _text("unit", key=True),
    _int("event_us", key=True),
    Index("guard_conversions_age", "guard", "event_us"),
    sqlite_with_rowid=False,
)

guard_counts = Table(
    "guard_counts",
    metadata,
    _text("guard", key=True),
    _int("epoch", key=True),
    _int("slot", key=True),
    _text("arm", key=True),
    _int("age", key=True),
    _int("n"),
    sqlite_with_rowid=False,
)

guard_folded = Table(
    "guard_folded",
    metadata,
    _text("guard", key=True),
    _int("epoch", key=True),
    _int("from_slot", key=True),
    _text("arm", key=True),
    _int("first_slot"),
    _int("last_slot"),
    _int("exposed"),
    _int("converted"),
    _int("age_slots"),
    sqlite_with_rowid=False,
)

guard_left_out = Table(
    "guard_left_out",
    metadata,
    _text("guard", key=True),
    _int("epoch", key=True),
    _int("records"),
)

guard_records = Table(
    "guard_records",
    metadata,
    _text("guard", key=True),
    _int("step", key=True),
    _text("name", key=True),
    _int("n"),
    sqlite_with_rowid=False,
)

guard_links = Table(
    "guard_links",
    metadata,
    _text("guard", key=True),
    _text("anonymous_id", key=True),
    _text("user_id", key=True),
    _int("event_us"),
    Index("guard_links_user", "guard", "user_id"),
    Index("guard_links_age", "guard", "event_us"),
    sqlite_with_rowid=False,
)

guard_requests = Table(
    "guard_requests",
    metadata,
    _text("guard", key=True),
    _int("epoch", key=True),
    _text("episode"),
    _text("actor"),
    _text("reason"),
    _int("asked_us"),
    _int("times"),
    _int("last_us"),
    _text("refused", null=True),
)

guard_flags = Table(
    "guard_flags",
    metadata,
    _text("guard", key=True),
    Column("enabled", Boolean, nullable=False),
    _real("share"),
    _text("fingerprint"),
    _int("seen_us"),
    _int("changed_us"),
)

guard_shares = Table(
    "guard_shares",
    metadata,
    _text("guard", key=True),
    _int("since_us", key=True),
    Column("share", Float, nullable=False),
)

ramp_steps = Table(
    "ramp_steps",
    metadata,
    _text("guard", key=True),
    _int("epoch", key=True),
    _int("number", key=True),
    _text("id"),
    _real("to_share"),
    _real("from_share"),
    _text("state"),
    _text("approved_by", null=True),
    _text("approval_reason", null=True),
    _int("approved_us", null=True),
    _text("run_id", null=True),
    _int("attempt"),
    _int("intent_us", null=True),
    _int("taken_us", null=True),
    _text("fingerprint", null=True),
    _text("evidence", null=True),
    _text("note", null=True),
)

guard_history = Table(
    "guard_history",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    _text("guard"),
    _int("version"),
    _text("from_state"),
    _text("to_state"),
    _int("at_us"),
    _text("actor"),
    _text("reason"),
    _text("detail", null=True),
    _text("digest"),
    UniqueConstraint("guard", "version"),
)

rollbacks = Table(
    "rollbacks",
    metadata,
    _text("episode", key=True),
    _text("guard"),
    _text("flag"),
    _text("environment"),
    _text("provider"),
    _int("epoch"),
    _int("attempt"),
    _int("decided_us", null=True),
    _int("intent_us", null=True),
    _int("acked_us", null=True),
    _int("effective_us", null=True),
    _int("last_exposure_us", null=True),
    _real("estimate"),
    _real("low"),
    _real("high"),
    _real("log_e"),
    _real("log_budget"),
    Column("verified", Boolean, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    _text("outcome", null=True),
    _text("actor", null=True),
    _text("reason", null=True),
    _text("run_id", null=True),
    _text("bundle", null=True),
    _text("bundle_sha256", null=True),
    _text("metric", null=True),
)

notifications = Table(
    "notifications",
    metadata,
    _text("id", key=True),
    _text("episode"),
    _text("sink"),
    _text("payload"),
    _text("status"),
    _int("attempts"),
    _int("next_us"),
    _text("last_error", null=True),
    _int("created_us"),
    _int("delivered_us", null=True),
    _int("lease_us", null=True),
    Index("notifications_due", "status", "next_us"),
)
