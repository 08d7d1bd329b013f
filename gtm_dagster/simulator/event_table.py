"""Simulated events as a table in the native import columns, with faults of delivery: late, duplicated, malformed."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.simulator.simulated_events import API, CODE, CURRENCIES, KINDS, MOBILE, SimulatedEvents
from gtm_dagster.simulator.visits import DAY, HOUR, arrival_table
from gtm_dagster.simulator.vocabulary import POOLS, money

SECOND = 1_000_000
TIME = pa.timestamp("us", tz="UTC")
MALFORMED: tuple[str, ...] = ("unknown_event", "missing_property", "negative_amount", "no_identity", "wrong_type")
"""Kinds of malformed events, in the order of `Faults.malformed`."""
FIRST_MALFORMED = 2
"""Labels of rows: 0 valid, 1 duplicate, from here on malformed (this + the index of its kind)."""
_HEX = np.array([f"{byte:02x}".encode() for byte in range(256)], dtype="S2")
_PLACES = (("DE", "de-DE"), ("US", "en-US"), ("GB", "en-GB"), ("FR", "fr-FR"), ("IN", "en-IN"))


@dataclass(frozen=True)
class Faults:
    """The rows sent again, a mask of the late ones, and the kind of each malformed event to add."""

    duplicated: np.ndarray
    late: np.ndarray
    malformed: np.ndarray


def draw_faults(rng: np.random.Generator, valid: int, duplicates: int, malformed: int, late_share: float) -> Faults:
    """Faults for `valid` events, drawn at random; a row may be duplicated more than once."""
    return Faults(
        duplicated=np.sort(rng.integers(0, valid, duplicates)),
        late=rng.random(valid) < late_share,
        malformed=np.sort(np.arange(malformed) % len(MALFORMED)),
    )


def make_table(
    rng: np.random.Generator, events: SimulatedEvents, faults: Faults, start_us: int, end_us: int
) -> tuple[pa.Table, np.ndarray]:
    """All rows in order of arrival, and the label of each: 0 valid, 1 duplicate, 2 + k malformed of kind k."""
    n = len(events)
    delay = 40_000 + rng.exponential(SECOND, n)
    delay = np.where(faults.late, HOUR + rng.exponential(14 * HOUR, n), delay).astype(np.int64)
    received = np.minimum(events.at_us + delay, end_us)
    valid = _valid_rows(rng, events, received)

    duplicates = valid.take(pa.array(faults.duplicated))
    wait = np.where(
        rng.random(len(duplicates)) < 0.2,
        rng.exponential(1.5 * DAY, len(duplicates)),
        rng.exponential(60 * SECOND, len(duplicates)),
    )
    duplicates_received = np.minimum(received[faults.duplicated] + SECOND + wait.astype(np.int64), end_us)
    duplicates = duplicates.set_column(
        duplicates.schema.get_field_index("received_at"),
        "received_at",
        pa.array(duplicates_received, pa.int64()).cast(TIME),
    )

    malformed = _malformed_rows(rng, faults.malformed, start_us, end_us)
    table = pa.concat_tables([valid, duplicates, malformed])
    label = np.r_[
        np.zeros(n, dtype=np.int64), np.ones(len(duplicates), dtype=np.int64), FIRST_MALFORMED + faults.malformed
    ]
    arrival = np.r_[received, duplicates_received, pc.cast(malformed["received_at"], pa.int64()).to_numpy()]
    order = np.argsort(arrival, kind="stable")
    return table.take(pa.array(order)), label[order]


def _valid_rows(rng: np.random.Generator, events: SimulatedEvents, received: np.ndarray) -> pa.Table:
    arrivals, *_ = arrival_table()
    person_count = int(events.person.max(initial=-1)) + 1
    is_landing = events.arrival >= 0
    places = [_PLACES[person % len(_PLACES)] for person in range(person_count)]
    at_person = pa.array(events.person)
    server = events.device == API

    def of_person(texts: list[str], show: np.ndarray) -> pa.Array:
        return pa.array(texts, pa.string()).take(_where(show, events.person))

    def of_arrival(name: str) -> pa.Array:
        return pa.array([getattr(arrival, name) for arrival in arrivals], pa.string()).take(
            _where(is_landing, events.arrival)
        )

    users = [f"user-{person:07d}" for person in range(person_count)]
    devices = [f"anon-{person:07d}-{device}" for person in range(person_count) for device in (1, 2)]
    sessions = [f"s-{visit:08d}" for visit in range(int(events.visit.max(initial=-1)) + 1)]
    landing_pages = ["https://app.example.com/", "https://app.example.com/product", "https://app.example.com/pricing"]
    return _table(
        {
            "event_id": _ids(rng, events.at_us),
            "event_name": pa.array(KINDS).take(pa.array(events.kind)),
            "timestamp": pa.array(events.at_us, pa.int64()).cast(TIME),
            "user_id": of_person(users, events.known),
            "anonymous_id": pa.array(devices, pa.string()).take(
                _where(~server, events.person * 2 + np.maximum(events.anonymous, 1) - 1)
            ),
            "session_id": pa.array(sessions, pa.string()).take(_where(~server, events.visit)),
            "properties": _properties(rng, events),
            "source": of_arrival("source"),
            "medium": of_arrival("medium"),
            "campaign": of_arrival("campaign"),
            "referrer": of_arrival("referrer"),
            "click_id": of_arrival("click_id"),
            "device_type": pa.array(["web", "mobile", "api"]).take(pa.array(events.device)),
            "locale": of_person([locale for _, locale in places], ~server),
            "country": pa.array([country for country, _ in places], pa.string()).take(at_person),
            "page_url": pa.array(landing_pages).take(
                _where(is_landing & (events.device != MOBILE), events.person % len(landing_pages))
            ),
            "received_at": pa.array(received, pa.int64()).cast(TIME),
        },
        len(events),
    )


def _malformed_rows(rng: np.random.Generator, kinds: np.ndarray, start_us: int, end_us: int) -> pa.Table:
    """A row a malformed event, each of a person who does nothing else; each breaks the tracking plan in one way."""
    n = len(kinds)
    at_us = rng.integers(start_us, end_us, n)
    names = ["page_veiwed", "payment_completed", "payment_completed", "page_viewed", "payment_completed"]
    properties = [
        POOLS["page_viewed"][0],
        '{"currency":"USD"}',
        '{"amount":-49.0,"currency":"USD","payment_id":"pay-negative"}',
        POOLS["page_viewed"][0],
        '{"amount":"forty-nine","currency":"USD","payment_id":"pay-text"}',
    ]
    anonymous_ids = pa.array([f"anon-ghost-{row:06d}" for row in range(n)], pa.string())
    no_identity = MALFORMED.index("no_identity")
    return _table(
        {
            "event_id": _ids(rng, at_us),
            "event_name": pa.array(names).take(pa.array(kinds)),
            "timestamp": pa.array(at_us, pa.int64()).cast(TIME),
            "anonymous_id": anonymous_ids.take(_where(kinds != no_identity, np.arange(n))),
            "properties": pa.array(properties).take(pa.array(kinds)),
            "device_type": pa.array(["web"] * n, pa.string()),
            "received_at": pa.array(np.minimum(at_us + 1_000_000, end_us), pa.int64()).cast(TIME),
        },
        n,
    )


COLUMNS: tuple[str, ...] = (
    "event_id", "event_name", "timestamp", "user_id", "anonymous_id", "session_id", "properties", "source", "medium",
    "campaign", "term", "content", "device_type", "locale", "page_url", "referrer", "click_id", "country", "region",
    "consent", "received_at",
)  # fmt: skip


CONSENT = '{"analytics":true}'
"""Every simulated person agreed: a deployment that requires consent keeps the traffic, too."""


def _table(columns: dict[str, pa.Array], rows: int) -> pa.Table:
    columns = {"consent": pa.repeat(CONSENT, rows), **columns}
    return pa.table({name: columns.get(name, pa.nulls(rows, pa.string())) for name in COLUMNS})


def _where(show: np.ndarray, index: np.ndarray) -> pa.Array:
    """`index` as positions to take, null where `show` is false."""
    return pa.array(index.astype(np.int64), mask=~show)


def _ids(rng: np.random.Generator, at_us: np.ndarray) -> pa.Array:
    """UUIDs of version 7 as text: 48 bits of milliseconds, then random; built in one buffer, as millions are needed."""
    n = len(at_us)
    raw = rng.integers(0, 256, (n, 16), dtype=np.uint8)
    milliseconds = (at_us // 1000).astype(">i8").view(np.uint8).reshape(n, 8)
    raw[:, :6] = milliseconds[:, 2:]
    raw[:, 6] = (raw[:, 6] & 0x0F) | 0x70
    raw[:, 8] = (raw[:, 8] & 0x3F) | 0x80
    digits = _HEX[raw].view("S1").reshape(n, 32)
    text = np.full((n, 36), b"-", dtype="S1")
    for begin, end, at in ((0, 8, 0), (8, 12, 9), (12, 16, 14), (16, 20, 19), (20, 32, 24)):
        text[:, at : at + end - begin] = digits[:, begin:end]
    offsets = np.arange(n + 1, dtype=np.int32) * 36
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(text.tobytes()))


def _properties(rng: np.random.Generator, events: SimulatedEvents) -> pa.Array:
    texts: list[str] = []
    first = np.zeros(len(KINDS), dtype=np.int64)
    size = np.ones(len(KINDS), dtype=np.int64)
    for code, name in enumerate(KINDS):
        pool = POOLS.get(name, ("{}",))
        first[code], size[code] = len(texts), len(pool)
        texts.extend(pool)
    text_no = first[events.kind] + rng.integers(0, 1 << 30, len(events)) % size[events.kind]
    # A person sees one variant: an experiment compares persons.
    exposed = events.kind == CODE["flag_exposed"]
    text_no = np.where(exposed, first[events.kind] + events.person % 2, text_no)
    paid = np.flatnonzero(~np.isnan(events.amount))
    text_no[paid] = len(texts) + np.arange(len(paid))
    for row in paid:
        payment_id = f"pay-{events.person[row]:07d}-{events.paid_us[row]:x}"
        texts.append(money(events.amount[row], CURRENCIES[events.currency[row]], payment_id))
    return pa.array(texts, pa.string()).take(pa.array(text_no))
