"""A record as a message of the topic: JSON by column name, so that any other reader of the topic understands it.

`v` is the format, columns at their default are left out, times are microseconds UTC, a sealed original is base64. The key
is the person within a write key, so that a person's events stay in one partition and in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from gtm_dagster.admission.record import LANDING_COLUMNS, Record
from gtm_dagster.storage.migrations import NEWER, NewerFormatError

if TYPE_CHECKING:
    import pyarrow as pa
    from confluent_kafka import Message

FORMAT = 1
_MOST_US = 2**63
_PREFIX = b'{"v":%d,' % FORMAT
_encode = msgspec.json.Encoder().encode


class _Stored(Record, frozen=True, gc=False, forbid_unknown_fields=True):
    """What a message holds: a record, and the format it is in."""

    v: int = FORMAT


def _check_times(record: Record) -> None:
    for us in (record.event_us, record.received_us):
        if us is not None and not -_MOST_US <= us < _MOST_US:
            raise OverflowError(f"{us} is no time in microseconds: it needs more than 64 bits")


class _Version(msgspec.Struct, frozen=True):
    v: int = 0


_decode = msgspec.json.Decoder(_Stored).decode
_version = msgspec.json.Decoder(_Version).decode


def key_of(record: Record) -> str:
    """The person within the write key; of a refused event that names nobody, the write key."""
    return f"{record.write_key}:{record.user_id or record.anonymous_id or ''}"


def packed(record: Record) -> dict[str, str | bytes]:
    """The message of one record. Raises OverflowError for a time that no reader could hold."""
    _check_times(record)
    return {"key": key_of(record), "value": _PREFIX + _encode(record)[1:]}


def table_of(messages: Sequence[tuple[int, Message]]) -> pa.Table:
    """Messages, each with its offset in the log, as a table of the landing columns; `row_no` is that offset.

    A message that is no record of a collector is a quarantined row. Raises NewerFormatError for a later format.
    """
    import pyarrow as pa

    kinds = {"str": pa.string(), "int64": pa.int64(), "bytes": pa.binary()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in LANDING_COLUMNS])
    if not messages:
        return schema.empty_table()
    try:
        rows = [_decode(message.value() or b"") for _, message in messages]
        for times in (map(attrgetter("event_us"), rows), map(attrgetter("received_us"), rows)):
            if max((abs(us) for us in times if us is not None), default=0) >= _MOST_US:
                raise OverflowError
    except (msgspec.MsgspecError, OverflowError):
        rows = [_readable(seq, message) for seq, message in messages]
    offsets = [seq for seq, _ in messages]
    arrays = [
        _array(offsets if field.name == "row_no" else list(map(attrgetter(field.name), rows)), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """A column; many have one value in all rows, which costs a tenth."""
    import pyarrow as pa

    first, n = values[0], len(values)
    return pa.repeat(pa.scalar(first, kind), n) if values.count(first) == n else pa.array(values, kind)


def _readable(seq: int, message: Message) -> _Stored:
    value = message.value() or b""
    try:
        row = _decode(value)
        _check_times(row)
        return row
    except (msgspec.MsgspecError, OverflowError) as error:
        place = f"partition {message.partition()}, offset {message.offset()}"
        try:
            version = _version(value).v
        except msgspec.MsgspecError:
            version = 0
        if version > FORMAT or (version and "unknown field" in str(error)):
            raise NewerFormatError(
                f"event log, offset {seq} ({place} of the topic): {NEWER} or a later one ({error})"
            ) from error
        errors = [{"path": "", "code": "unreadable_message", "message": f"{place}: no record of a collector: {error}"}]
        return _Stored(
            write_key="", event_id=None, event_name=None, event_us=None, received_us=message.timestamp()[1] * 1000,
            verdict="quarantined", reason_codes="unreadable_message", errors=msgspec.json.encode(errors).decode(),
        )  # fmt: skip
