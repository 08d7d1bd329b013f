"""Simulated traffic with its truth, and the files of both."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from gtm_dagster.simulator import oracle
from gtm_dagster.simulator.channel_profiles import CHANNEL_PROFILES
from gtm_dagster.simulator.event_table import FIRST_MALFORMED, MALFORMED, draw_faults, make_table
from gtm_dagster.simulator.simulated_events import (
    SimulatedEvents,
    concatenate,
    events_of_visits,
    replace_unlinked_devices,
)
from gtm_dagster.simulator.visits import DAY, HOUR, make_visits

EVENTS_PER_PERSON = 8.0
"""First guess of the persons that an amount of events takes; more are added until it is reached."""


@dataclass(frozen=True)
class Traffic:
    """`events` in the native import columns, in order of arrival; `truth` as described in `simulate`;
    `label` for each row: 0 valid, 1 duplicate, 2 or more malformed."""

    events: pa.Table
    truth: dict[str, Any]
    label: np.ndarray


def simulate(
    events: int,
    days: int,
    seed: int,
    end: datetime | None = None,
    *,
    windows: Sequence[tuple[str, float]] = oracle.DEFAULT_WINDOWS,
    duplicate_share: float = 0.01,
    malformed_share: float = 0.005,
    late_share: float = 0.01,
) -> Traffic:
    """Exactly `events` rows of `days` days before `end` (default: now, whole second), the same for the same arguments.

    The truth holds events, unique_valid, duplicates, late (received more than an hour after the event), malformed (by
    kind), persons, sessions, channels (what the persons of each acquisition channel did), planted (their
    probabilities), credit (of `windows`: model and lookback in hours), funnel, retention.
    Raises ValueError naming the argument, its value and what is allowed.
    """
    _check(events=events, days=days, seed=seed)
    for name, share in (
        ("duplicate_share", duplicate_share),
        ("malformed_share", malformed_share),
        ("late_share", late_share),
    ):
        if not 0 <= share <= 0.5:
            raise ValueError(f"{name}: {share!r} is not a share between 0 and 0.5")
    if end is None:
        end = datetime.now(UTC).replace(microsecond=0)
    if end.tzinfo is None:
        raise ValueError(f"end: {end.isoformat()} has no time zone; give one, such as {end.isoformat()}+00:00")
    end_us = round(end.timestamp()) * 1_000_000
    start_us = end_us - days * DAY
    rng = np.random.default_rng([seed, events, days])
    duplicates, malformed = int(events * duplicate_share), int(events * malformed_share)
    valid = _valid_events(rng, events - duplicates - malformed, start_us, end_us)
    faults = draw_faults(rng, len(valid), duplicates, malformed, late_share)
    table, label = make_table(rng, valid, faults, start_us, end_us)
    return Traffic(table, _truth(valid, table, label, start_us, end_us, windows), label)


def write(traffic: Traffic, out_dir: str | Path, *, form: str = "parquet") -> list[Path]:
    """`events.parquet` (or `events.ndjson` with form="ndjson") and `truth.json` in `out_dir`; returns both paths."""
    if form not in {"parquet", "ndjson"}:
        raise ValueError(f"form: {form!r} is not known; choose parquet or ndjson")
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    events, truth = folder / f"events.{form}", folder / "truth.json"
    if form == "parquet":
        parquet.write_table(traffic.events, events, compression="zstd", row_group_size=131_072)
    else:
        with events.open("w", encoding="utf-8") as lines:
            for batch in traffic.events.to_batches(max_chunksize=65_536):
                lines.writelines(json.dumps(_native(row), separators=(",", ":")) + "\n" for row in batch.to_pylist())
    truth.write_text(json.dumps(traffic.truth, indent=2) + "\n", encoding="utf-8")
    return [events, truth]


def _check(**numbers: int) -> None:
    for name, value in numbers.items():
        least = 0 if name == "seed" else 1
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name}: {value!r} is not a whole number of {least} or more")


def _valid_events(rng: np.random.Generator, wanted: int, start_us: int, end_us: int) -> SimulatedEvents:
    """Exactly `wanted` valid events: all those of each person, and of the last person the first ones."""
    parts: list[SimulatedEvents] = []
    count = persons = visits = 0
    while count < wanted or not parts:
        more = max(50, int((wanted - count) / EVENTS_PER_PERSON * 1.02))
        new = make_visits(rng, more, persons, start_us, end_us)
        parts.append(events_of_visits(rng, new, visits, end_us))
        persons, visits, count = persons + more, visits + len(new.person), count + len(parts[-1])
    return replace_unlinked_devices(concatenate(parts).take(np.arange(wanted)))


def _truth(
    valid: SimulatedEvents,
    table: pa.Table,
    label: np.ndarray,
    start_us: int,
    end_us: int,
    windows: Sequence[tuple[str, float]],
) -> dict[str, Any]:
    sessions = oracle.sessions_of(valid)
    acquired = oracle.acquisition(sessions, int(valid.person.max(initial=-1)) + 1)
    times = [table[name].cast(pa.int64()).to_numpy() for name in ("received_at", "timestamp")]
    return {
        "start": datetime.fromtimestamp(start_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z"),
        "end": datetime.fromtimestamp(end_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z"),
        "events": table.num_rows,
        "unique_valid": len(valid),
        "duplicates": int((label == 1).sum()),
        "late": int(((times[0] - times[1] > HOUR) & (label == 0)).sum()),
        "malformed": {kind: int((label == FIRST_MALFORMED + number).sum()) for number, kind in enumerate(MALFORMED)},
        "persons": len(np.unique(valid.person)),
        "sessions": len(sessions.person),
        "channels": oracle.by_channel(valid, acquired, sessions.channels),
        "planted": {
            profile.arrivals[0].channel: {
                "share": profile.share,
                "signup": profile.signup,
                "onboarding": profile.onboarding,
                "first_value": profile.first_value,
                "payment": profile.payment,
            }
            for profile in CHANNEL_PROFILES
        },
        "credit": oracle.credit(valid, sessions, windows),
        "funnel": oracle.funnel(valid, acquired, sessions.channels),
        "retention": oracle.retention(valid),
    }


_CONTEXT = (
    "source", "medium", "campaign", "term", "content", "device_type", "locale", "page_url", "referrer", "click_id",
    "country", "region",
)  # fmt: skip


def _native(row: dict[str, Any]) -> dict[str, Any]:
    """A table row as one line of NDJSON: the import columns, times as text, empty ones left out."""
    return {
        name: (value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value)
        for name, value in row.items()
        if value is not None
    }


def as_event(row: dict[str, Any]) -> dict[str, Any]:
    """A table row as an event of the native protocol (`POST /ingest`)."""
    context = {name: row[name] for name in _CONTEXT if row[name] is not None}
    if row["consent"] is not None:
        context["consent"] = json.loads(row["consent"])
    return {
        "event_id": row["event_id"],
        "event_name": row["event_name"],
        "timestamp": row["timestamp"].isoformat().replace("+00:00", "Z"),
        "user_id": row["user_id"],
        "anonymous_id": row["anonymous_id"],
        "session_id": row["session_id"],
        "properties": json.loads(row["properties"]),
        "context": context,
    }
