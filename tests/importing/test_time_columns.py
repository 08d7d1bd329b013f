"""Columns of times: what each format reads, the reason of the rest, and that no text changes the verdict on another."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.importing.local_times import local_to_utc
from gtm_dagster.importing.mapping import TimeColumn
from gtm_dagster.importing.time_columns import times_us, to_us
from gtm_dagster.importing.time_formats import FormatError, time_format
from gtm_dagster.taxonomy.times import BAD, WITHOUT_OFFSET, read_time
from tests.profiles import examples

TEN = 1_772_445_600_000_000  # 2026-03-02 10:00 UTC
HOUR = 3_600_000_000
BERLIN = "Europe/Berlin"


def verdicts(texts, format="iso", timezone=None):
    times = to_us(pa.array(texts, pa.string()), TimeColumn("at", format, timezone))
    return [us if us is not None else reason for us, reason in zip(*(a.to_pylist() for a in (times.us, times.reason)))]  # noqa: B905


@pytest.mark.parametrize(
    ("text", "format", "timezone", "expected"),
    [
        pytest.param("2026-03-02 10:00:00+00", "iso", BERLIN, TEN, id="an offset wins over the zone"),
        pytest.param("2026-03-02 10:00:00 UTC", "iso", BERLIN, TEN, id="UTC wins over the zone"),
        pytest.param("2026-03-02 11:00:00", "iso", BERLIN, TEN, id="iso in the zone"),
        pytest.param("2026-03-02T11:00", "iso", BERLIN, TEN, id="iso without seconds in the zone"),
        pytest.param("2026-03-02", "iso", BERLIN, TEN - 11 * HOUR, id="a day alone is its midnight"),
        pytest.param("20260302", "iso", BERLIN, TEN - 11 * HOUR, id="a day without dashes"),
        pytest.param("2026-0302", "iso", BERLIN, BAD, id="half of the dashes"),
        pytest.param("2026-03-02", "iso", None, BAD, id="a day alone without a zone"),
        pytest.param("2026", "iso", BERLIN, BAD, id="a year alone"),
        pytest.param("2026-03", "iso", BERLIN, BAD, id="a month alone"),
        pytest.param("20260230", "iso", BERLIN, BAD, id="a day that is none"),
        pytest.param("2026-02-30 10:00", "iso", BERLIN, BAD, id="a local day that is none"),
        *(pytest.param(word, form, BERLIN, BAD, id=f"{word} as {form}")
          for word in ("now", "today", "NaT", "nan", "None", "now UTC") for form in ("iso", "%d.%m.%Y %H:%M", "unix_s")),
        pytest.param("2026-03-02 11:00", "iso", None, WITHOUT_OFFSET, id="iso without a zone"),
        pytest.param("02.03.2026 11:00", "%d.%m.%Y %H:%M", BERLIN, TEN, id="German"),
        pytest.param("2.3.2026 11:00", "%d.%m.%Y %H:%M", BERLIN, TEN, id="German without zeros"),
        pytest.param("02.03.2026  11:00", "%d.%m.%Y %H:%M", BERLIN, TEN, id="two blanks for one"),
        pytest.param("02.03.2026 11:00", "%d.%m.%Y %H:%M", None, WITHOUT_OFFSET, id="German without a zone"),
        pytest.param("02.03.2026", "%d.%m.%Y", None, WITHOUT_OFFSET, id="a German day without a zone"),
        pytest.param("02.03.2026 11:00:00", "%d.%m.%Y %H:%M", BERLIN, BAD, id="more than the format"),
        pytest.param("2026-03-02T11:00", "%d.%m.%Y %H:%M", None, BAD, id="iso, but another format is named"),
        pytest.param("2026-03-02T11:00:00Z", "%d.%m.%Y %H:%M", BERLIN, BAD, id="RFC 3339, but another format is named"),
        pytest.param("31.02.2026 11:00", "%d.%m.%Y %H:%M", BERLIN, BAD, id="31 February"),
        pytest.param("2026-03-02 10:00:00 UTC", "%Y-%m-%d %H:%M:%S UTC", BERLIN, TEN, id="UTC as letters of the format"),
        pytest.param("2026-03-02T10:00:00Z", "%Y-%m-%dT%H:%M:%SZ", None, TEN, id="Z as a letter of the format"),
        pytest.param("2026-03-02 10:00:00.1234567", "%F %T.%f", "UTC", TEN + 123_456, id="seven digits, cut"),
        pytest.param("2026-03-02 10:00:00.5", "%F %T.%f", "UTC", TEN + 500_000, id="one digit"),
        pytest.param("2026-03-02 12:00:00 +0200", "%F %T %z", None, TEN, id="%z with hhmm"),
        pytest.param("2026-03-02 12:00:00+02", "%F %T%z", BERLIN, TEN, id="%z with hh"),
        pytest.param("2026-03-02 10:00:00Z", "%F %T%z", None, TEN, id="%z with Z"),
        pytest.param("2026-03-02 10:00:00 GMT", "%F %T %Z", BERLIN, TEN, id="%Z"),
        pytest.param("2026-03-02 10:00:00 CET", "%F %T %Z", BERLIN, BAD, id="%Z of a zone that is not UTC"),
        pytest.param("Mon, 02 Mar 2026 10:00:00 GMT", "%a, %d %b %Y %H:%M:%S GMT", None, TEN, id="HTTP date"),
        pytest.param("March 2, 2026 10:00 AM", "%B %d, %Y %I:%M %p", "UTC", TEN, id="American"),
        pytest.param("3/2/26 12:00 am", "%m/%d/%y %I:%M %p", "UTC", TEN - 10 * HOUR, id="midnight is 12 am"),
        pytest.param("2026-061 10:00", "%Y-%j %H:%M", "UTC", TEN, id="day of the year"),
        pytest.param("2026-366 10:00", "%Y-%j %H:%M", "UTC", BAD, id="day of the next year"),
        pytest.param("02/03/2026:11:00:00 +0100", "%d/%m/%Y:%H:%M:%S %z", None, TEN, id="as in logs"),
        pytest.param("0２.03.2026 11:00", "%d.%m.%Y %H:%M", BERLIN, BAD, id="a digit of another script"),
        pytest.param("1772445600", "unix_s", None, TEN, id="seconds"),
        pytest.param("1772445600.5", "unix_s", None, TEN + 500_000, id="half a second"),
        pytest.param("1.7724456e9", "unix_s", None, TEN, id="seconds with an exponent"),
        pytest.param("1772445600.9999999", "unix_s", None, TEN + 999_999, id="seven digits of a number, cut"),
        pytest.param("1772445600.123456", "unix_s", None, TEN + 123_456, id="six digits of a number, exact"),
        pytest.param("1772445600000", "unix_ms", None, TEN, id="milliseconds"),
        pytest.param("1772445600000000", "unix_us", None, TEN, id="microseconds"),
        pytest.param("1772445600000000", "unix_s", None, BAD, id="microseconds read as seconds"),
        pytest.param("-1", "unix_s", None, -1_000_000, id="before the epoch; out of range later"),
        pytest.param(" 1772445600 ", "unix_s", None, TEN, id="blanks around a number"),
        pytest.param("1e999999999", "unix_s", None, BAD, id="a huge exponent"),
        pytest.param("1e-999999999", "unix_s", None, 0, id="a tiny number"),
        pytest.param("1_772_445_600", "unix_s", None, BAD, id="underscores"),
        pytest.param("5\n", "unix_s", None, 5_000_000, id="a line break behind a number"),
        pytest.param("0x10", "unix_s", None, BAD, id="hexadecimal"),
        pytest.param("02.03.2026 11:00", ("iso", "%d.%m.%Y %H:%M"), BERLIN, TEN, id="the second of two formats"),
        pytest.param("2026-03-02 11:00", ("iso", "%d.%m.%Y %H:%M"), BERLIN, TEN, id="the first of two formats"),
        pytest.param("1772445600", ("iso", "unix_s"), BERLIN, TEN, id="iso or seconds"),
        pytest.param("1772445600000", ("unix_s", "unix_ms", "unix_us"), None, TEN, id="milliseconds or another unit"),
        pytest.param("1772445600000000", ("unix_s", "unix_ms", "unix_us"), None, TEN, id="microseconds or another unit"),
        pytest.param("5", ("unix_s", "unix_ms"), None, 5_000, id="of no unit; out of range later"),
        pytest.param("02.03.2026", ("%d.%m.%Y", "%m.%d.%Y"), "UTC", TEN - 10 * HOUR, id="the first that fits wins"),
        pytest.param("2026-03-02 10:00", ("%Y-%m-%d %H:%M", "iso"), None, WITHOUT_OFFSET, id="fits, but has no offset"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("beside", [0, 40], ids=["alone", "in a column"])
def test_a_text_is_read_by_its_format(text, format, timezone, expected, beside):
    assert verdicts([text] * (beside + 1), format, timezone) == [expected] * (beside + 1)


texts = st.one_of(
    st.sampled_from(
        [
            *("2026-03-02T10:00:00Z", "2026-03-02 10:00:00.745+02", "2026-03-02 10:00:00 UTC", "2026-03-02T10:00Z"),
            *("2026-03-02 10:00:00", "2026-03-29 02:30:00", "2026-03-02", "not a time", "now", "", "2026-02-30T10:00:00Z"),
            *("2026-03-02T10:00:61Z", "2026-03-02T10:00:00.123456789Z", "2026-03-02T10:00:0٠Z", "0000-01-01T00:00:00Z"),
        ]
    ),
    st.from_regex(r"[0-9]{4}-[01][0-9]-[0-3][0-9][Tt _][0-2][0-9]:[0-6][0-9](:[0-6][0-9](\.[0-9]{1,8})?)?( ?(Z|z|UTC|[+-][0-2][0-9](:?[0-6][0-9])?))?", fullmatch=True),
    st.text(alphabet="0123456789-:. TZ+UC", max_size=30),
    st.none(),
)  # fmt: skip


@given(st.lists(texts, max_size=8), st.integers(1, 40))
@examples(300)
def test_the_column_gives_what_each_text_gives(column, times):
    expected = [us if isinstance(us := read_time(t), int) else None for t in column if t is not None]
    assert times_us(pa.array(column, pa.string())).drop_null().to_pylist() == [us for us in expected if us is not None]
    for text in column:
        if text is not None:
            us = read_time(text)
            alone = times_us(pa.array([text] * times)).to_pylist()
            assert alone == [us if isinstance(us, int) else None] * times
            assert verdicts([text] * times) == [us if text else None] * times  # an empty text is no value


@given(st.lists(texts, max_size=30), st.sampled_from([None, BERLIN, "Australia/Lord_Howe"]))
@examples(200)
def test_neighbours_change_no_verdict(column, timezone):
    for form in ("iso", "%Y-%m-%d %H:%M:%S", ("iso", "%Y-%m-%d %H:%M:%S", "unix_s")):
        assert verdicts(column * 3, form, timezone) == [verdicts([text], form, timezone)[0] for text in column] * 3


def test_a_slice_of_a_column_is_read_from_its_own_bytes():
    column = pa.array([f"2026-03-02T10:00:{second:02}Z" for second in range(60)])
    assert times_us(column.slice(40)).to_pylist() == [TEN + second * 1_000_000 for second in range(40, 60)]


@pytest.mark.parametrize(
    ("local", "zone", "utc"),
    [
        ("2026-03-29T02:30:00", BERLIN, "2026-03-29T01:00:00"),
        ("2026-10-25T02:30:00", BERLIN, "2026-10-25T00:30:00"),
        ("2005-10-30T02:20:22", "Australia/Lord_Howe", "2005-10-29T15:30:00"),
        ("2006-04-02T01:40:00", "Australia/Lord_Howe", "2006-04-01T14:40:00"),
        ("2010-03-14T00:08:27", "America/St_Johns", "2010-03-14T03:31:00"),
        ("2011-12-30T12:00:00", "Pacific/Apia", "2011-12-30T10:00:00"),
        ("2018-11-04T00:10:00", "America/Sao_Paulo", "2018-11-04T03:00:00"),
        ("2026-03-29T03:00:00", BERLIN, "2026-03-29T01:00:00"),
        ("1990-01-01T00:00:00", "UTC", "1990-01-01T00:00:00"),
    ],
    ids=["skipped hour", "hour twice", "half an hour skipped", "half an hour twice", "skipped at 00:01", "a whole day skipped", "midnight skipped", "first after a gap", "UTC"],
)  # fmt: skip
def test_a_local_time_is_the_first_of_both_or_the_first_after_the_gap(local, zone, utc):
    found = local_to_utc(np.array([local], dtype="datetime64[us]").astype(np.int64), zone)
    assert str(found.astype("datetime64[us]").astype("datetime64[s]")[0]) == utc


ZONES = [
    BERLIN,
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Africa/Casablanca",
    "Asia/Gaza",
    "America/Noronha",
    "Asia/Kathmandu",
]


@given(st.datetimes(datetime(1990, 1, 2), datetime(2100, 12, 30)), st.sampled_from(ZONES))  # noqa: DTZ001
@examples(300)
def test_local_times_agree_with_zoneinfo(local, zone):
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    us = (local.replace(tzinfo=UTC) - epoch) // timedelta(microseconds=1)
    found = epoch + timedelta(microseconds=int(local_to_utc(np.array([us]), zone)[0]))
    there = found.astimezone(ZoneInfo(zone))
    assert found == local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) or there.replace(tzinfo=None) > local
    before = (found - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    assert there.replace(tzinfo=None) == local or before < local  # at a gap, the moment before lies before the gap


@pytest.mark.parametrize(
    ("column", "timezone", "expected"),
    [
        (pa.array([1_772_445_600_123_456_789], pa.timestamp("ns", "UTC")), None, TEN + 123_456),
        (pa.array([1_772_449_200_123_456_789], pa.timestamp("ns")), BERLIN, TEN + 123_456),
        (pa.array([-1], pa.timestamp("ns", "UTC")), None, -1),
        (pa.array([1_772_445_600], pa.timestamp("s", "Asia/Tokyo")), BERLIN, TEN),
        (pa.array([1_772_445_600], pa.timestamp("s")), None, WITHOUT_OFFSET),
        (pa.array([date(2026, 3, 2)]), BERLIN, TEN - 11 * HOUR),
        (pa.array([date(2026, 3, 2)], pa.date64()), BERLIN, TEN - 11 * HOUR),
        (pa.array([date(2026, 3, 2)]), None, BAD),
        (pa.array([2**62], pa.timestamp("s", "UTC")), None, 9 * 10**18),
        (pa.array(["2026-03-02T10:00:00Z"]).dictionary_encode(), None, TEN),
        (pa.array(["2026-03-02T10:00:00Z"], pa.large_string()), None, TEN),
        (pa.array([{"at": 1}]), BERLIN, BAD),
        (pa.array([True]), BERLIN, BAD),
        (pa.array([1.5]), None, BAD),
    ],
    ids=["ns cut", "naive ns", "ns before the epoch", "s elsewhere", "naive", "date", "date64", "date without a zone", "too far", "dictionary", "large", "struct", "boolean", "float"],
)  # fmt: skip
def test_types_of_parquet(column, timezone, expected):
    times = to_us(column, TimeColumn("at", "iso", timezone))
    assert [times.us[0].as_py(), times.reason[0].as_py()] == ([expected, None] if isinstance(expected, int) else [None, expected])  # fmt: skip


@pytest.mark.parametrize(
    ("column", "format"),
    [(pa.array([1_772_445_600, None]), "unix_s"), (pa.array([1_772_445_600.0, None]), "unix_s"), (pa.array([1_772_445_600_000, None], pa.uint64()), "unix_ms")],
    ids=["integers", "floats", "unsigned"],
)  # fmt: skip
def test_numbers_of_parquet_are_read_as_their_texts(column, format):
    assert to_us(column, TimeColumn("at", format)).us.to_pylist() == [TEN, None]


@pytest.mark.parametrize(
    ("format", "says"),
    [
        ("%Q", "'%Q'"), ("%H:%M", "names no day"), ("%Y-%m", "names no day"), ("rfc3339", "names no day"),
        ("", "names no day"), ("%Y-%m-%d %d", "%d twice"), ("%Y-%m-%", "'%'"), ("%Y-%m-%d %T %H", "%H twice"),
    ],
)  # fmt: skip
def test_a_format_that_is_none_names_what_is_wrong(format, says):
    with pytest.raises(FormatError, match=says):
        time_format(format)
