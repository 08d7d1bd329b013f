"""read_time: what is a time, which moment it is, and the reason of everything else."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.taxonomy.times import BAD, WITHOUT_OFFSET, read_time
from tests.profiles import examples

TEN = 1_772_445_600_000_000  # 2026-03-02 10:00 UTC
HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("2026-03-02T10:00:00Z", TEN, id="RFC 3339"),
        pytest.param("2026-03-02t10:00:00z", TEN, id="small letters"),
        pytest.param("2026-03-02 10:00:00Z", TEN, id="a blank for T"),
        pytest.param("2026-03-02T10:00Z", TEN, id="no seconds"),
        pytest.param("2026-03-02T10:00:00+00:00", TEN, id="offset zero"),
        pytest.param("2026-03-02T10:00:00-00:00", TEN, id="unknown local offset is UTC"),
        pytest.param("2026-03-02T12:00:00+02:00", TEN, id="hh:mm"),
        pytest.param("2026-03-02T12:00:00+0200", TEN, id="hhmm"),
        pytest.param("2026-03-02 12:00:00.745+02", TEN + 745_000, id="PostgreSQL"),
        pytest.param("2026-03-02 06:30:00-03:30", TEN, id="half an hour behind"),
        pytest.param("2026-03-02 10:00:00 UTC", TEN, id="BigQuery"),
        pytest.param("2026-03-02 10:00:00.123456 UTC", TEN + 123_456, id="BigQuery with a fraction"),
        pytest.param("2026-03-02 12:00:00 +0200", TEN, id="a blank before the offset"),
        pytest.param("2026-03-02 10:00:00 Z", TEN, id="a blank before Z"),
        pytest.param("2026-03-02T10:00:00.5Z", TEN + 500_000, id="one digit"),
        pytest.param("2026-03-02T10:00:00.9999999Z", TEN + 999_999, id=".NET, cut"),
        pytest.param("2026-03-02T10:00:00.123456789Z", TEN + 123_456, id="nanoseconds, cut"),
        pytest.param("2026-03-02T10:00:00." + "9" * 100_000 + "Z", TEN + 999_999, id="very many digits"),
        pytest.param("9999-12-31T23:59:59.9999999-23:59", 253_402_387_139_999_999, id="cut in the last year"),
        pytest.param("0001-01-01T00:00:00+23:59", -62_135_683_140_000_000, id="the first year"),
        pytest.param("2024-02-29T00:00:00Z", 1_709_164_800_000_000, id="a leap day"),
        pytest.param("1969-12-31T23:59:59.5Z", -500_000, id="before the epoch"),
    ],
)
def test_a_time_is_microseconds_utc(text, expected):
    assert read_time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02T10:00:00", "2026-03-02 10:00:00", "2026-03-02T10:00", "2026-03-02 10:00:00.745", "2024-02-29t00:00",
    ],
)  # fmt: skip
def test_a_time_without_an_offset_has_its_own_reason(text):
    assert read_time(text) == WITHOUT_OFFSET == "timestamp_without_offset"


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "now", "today", "NaT", "NaN", "null", "not a time", "2026", "2026-03", "2026-03-02", "20260302"),
        *("2026-02-30T10:00:00Z", "2026-02-29T10:00:00Z", "2026-02-30T10:00:00", "2026-13-01T10:00:00Z"),
        *("2026-00-01T10:00:00Z", "2026-01-00T10:00:00Z", "0000-01-01T10:00:00Z", "2026-04-31 10:00:00 UTC"),
        *("2026-03-02T24:00:00Z", "2026-03-02T10:60:00Z", "2026-03-02T10:00:61Z", "2016-12-31T23:59:60Z"),
        *("2026-03-02T10:00:00+24:00", "2026-03-02T10:00:00+02:60", "2026-03-02T10:00:00+2", "2026-03-02T10:00:00+"),
        *("2026-03-02T10:00:00+02:00:30", "2026-03-02T10:00:00 CET", "2026-03-02T10:00:00 utc", "2026-03-02T10Z"),
        *("2026-03-02T10:00:00.Z", "2026-03-02T10:00:00,5Z", "2026-03-02T10:00.5Z", "2026-03-02T10:00:00  UTC"),
        *(" 2026-03-02T10:00:00Z", "2026-03-02T10:00:00Z ", "2026-03-02T10:00:00Z\n", "2026-03-02T10:00:00\n"),
        *("2026-03-02  10:00:00Z", "2026-03-02_10:00:00Z", "2026-3-2T10:00:00Z", "26-03-02T10:00:00Z"),
        *("30000-01-01T00:00:00Z", "-2026-03-02T10:00:00Z", "2026-W10-1T10:00:00Z", "2026-061T10:00:00Z"),
        *("２０２６-03-02T10:00:00Z", "2026-03-02T10:00:0٠Z", "2026‐03‐02T10:00:00Z", "1772445600", "\x00", "\ud800"),
    ],
)  # fmt: skip
def test_everything_else_is_no_time(text):
    assert read_time(text) == BAD == "bad_timestamp"


offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=offsets))  # noqa: DTZ001
@examples(300)
def test_what_datetime_writes_comes_back(moment):
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert read_time(moment.isoformat()) == expected
    assert read_time(moment.isoformat(" ")) == expected
    assert read_time(moment.strftime("%Y-%m-%dT%H:%M:%S.%f%z").zfill(31)) == expected
    assert read_time(moment.replace(tzinfo=None).isoformat()) == WITHOUT_OFFSET


@given(st.text(alphabet="0123456789-:. TtZz+UC"))
@examples(300)
def test_no_text_raises(text):
    assert isinstance(read_time(text), int) or read_time(text) in (BAD, WITHOUT_OFFSET)


def test_it_is_light_on_import():
    code = "import sys, gtm_dagster.taxonomy.times; print({'numpy', 'pandas', 'pyarrow'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
