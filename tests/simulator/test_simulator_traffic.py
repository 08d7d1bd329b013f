"""Simulated traffic: deterministic, as large as asked, valid under the packaged plan, faults counted exactly."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import parquet

from gtm_dagster.simulator import simulate, write
from gtm_dagster.simulator.event_table import COLUMNS
from gtm_dagster.simulator.traffic import as_event
from gtm_dagster.taxonomy import EventValidator, load_plan
from gtm_dagster.taxonomy.validator import Accepted

END = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def traffic():
    return simulate(20_000, 31, 7, END)


def test_the_same_seed_gives_the_same_bytes(traffic):
    again = simulate(20_000, 31, 7, END)
    assert again.events.equals(traffic.events)
    assert again.truth == traffic.truth
    assert not simulate(20_000, 31, 8, END).events.equals(traffic.events)


def test_columns_and_span(traffic):
    assert tuple(traffic.events.column_names) == COLUMNS
    span = pc.min_max(traffic.events["timestamp"]).as_py()
    assert END - timedelta(days=31) <= span["min"]
    assert END - timedelta(hours=1) < span["max"] < END
    assert pc.max(traffic.events["received_at"]).as_py() <= END
    received = pc.cast(traffic.events["received_at"], pa.int64()).to_numpy()
    assert (np.diff(received) >= 0).all(), "rows are in order of arrival"


def test_the_books_of_the_truth_balance(traffic):
    truth = traffic.truth
    assert truth["events"] == traffic.events.num_rows == 20_000
    assert truth["unique_valid"] + truth["duplicates"] + sum(truth["malformed"].values()) == 20_000
    assert truth["duplicates"] == 200
    assert truth["malformed"] == dict.fromkeys(truth["malformed"], 20)
    assert 0.005 < truth["late"] / truth["unique_valid"] < 0.015
    assert len(set(traffic.events["event_id"].to_pylist())) == truth["unique_valid"] + sum(truth["malformed"].values())
    assert sum(row["persons"] for row in truth["channels"].values()) == truth["persons"]


def test_valid_rows_are_accepted_and_malformed_ones_are_refused(traffic):
    validator = EventValidator(load_plan())
    verdicts = np.array([isinstance(validator.validate(as_event(row)), Accepted) for row in traffic.events.to_pylist()])
    wrong = np.flatnonzero(verdicts != (traffic.label < 2))
    assert not len(wrong), as_event(traffic.events.slice(int(wrong[0]), 1).to_pylist()[0])


def test_every_person_agreed_in_both_forms(traffic):
    assert pc.unique(traffic.events["consent"]).to_pylist() == ['{"analytics":true}']
    assert as_event(traffic.events.slice(0, 1).to_pylist()[0])["context"]["consent"] == {"analytics": True}


def test_duplicates_repeat_everything_but_the_arrival(traffic):
    rows = traffic.events.drop_columns(["received_at"]).to_pylist()
    first = {}
    for row, label in zip(rows, traffic.label, strict=True):
        if label == 1:
            assert row == first[row["event_id"]]
        else:
            first[row["event_id"]] = row


def test_payments_come_from_servers(traffic):
    paid = traffic.events.filter(pc.equal(traffic.events["event_name"], "payment_completed"))
    known = paid.filter(pc.is_valid(paid["user_id"]))
    assert set(known["device_type"].to_pylist()) == {"api"}
    assert known["session_id"].null_count == known["anonymous_id"].null_count == known.num_rows > 50


def test_planted_chances_are_met():
    """Over 60 days the persons who come too late to finish their plans weigh little."""
    truth = simulate(150_000, 60, 11, END).truth
    email, social = truth["channels"]["Email"], truth["channels"]["Paid Social"]
    assert email["signups"] / email["persons"] == pytest.approx(truth["planted"]["Email"]["signup"], abs=0.06)
    assert social["signups"] / social["persons"] == pytest.approx(truth["planted"]["Paid Social"]["signup"], abs=0.03)
    assert social["onboarded"] / social["signups"] == pytest.approx(
        truth["planted"]["Paid Social"]["onboarding"], abs=0.12
    )


@pytest.mark.parametrize("events", [1, 2, 7, 60, 333])
def test_small_amounts_are_exact(events):
    traffic = simulate(events, 3, 1, END)
    assert traffic.events.num_rows == events
    assert sum(row["persons"] for row in traffic.truth["channels"].values()) == traffic.truth["persons"]


@pytest.mark.parametrize("form", ["parquet", "ndjson"])
def test_written_files_hold_the_traffic(tmp_path, form):
    traffic = simulate(500, 5, 3, END)
    events, truth = write(traffic, tmp_path / "out", form=form)
    assert json.loads(truth.read_text()) == traffic.truth
    if form == "parquet":
        assert parquet.read_table(events).equals(traffic.events)
    else:
        rows = [json.loads(line) for line in events.read_text().splitlines()]
        assert [row["event_id"] for row in rows] == traffic.events["event_id"].to_pylist()
        assert rows[0]["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((0, 30, 1), "events: 0"),
        ((10, 0, 1), "days: 0"),
        ((10, 1, -1), "seed: -1"),
        ((10, 1, 1, datetime(2026, 1, 1)), "end: 2026-01-01T00:00:00 has no time zone"),  # noqa: DTZ001
    ],
)
def test_wrong_arguments_are_named(arguments, says):
    with pytest.raises(ValueError, match=says):
        simulate(*arguments)


def test_the_traffic_does_not_depend_on_when_it_is_made_except_for_its_end():
    one, two = simulate(300, 4, 5, END), simulate(300, 4, 5, END + timedelta(days=7))
    assert one.events["event_name"].equals(two.events["event_name"])
