"""A withdrawn batch leaves the tables as if it had never landed, whatever landed beside it and whenever it went."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from profiles import slow_but
from warehouse_cases import DAY, PLAN, START, event, land, random_events, refresh, rows_of, settings_for

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.landing import Landing, WithdrawalError
from gtm_dagster.warehouse.verify import compare, verify

IMPORTS = ("import-a", "import-b", "import-c", "import-d", "import-e")
LOG = "log-" + "a" * 16 + "-000000000000001-{:015d}"


def withdraw(settings: Settings, name: str) -> None:
    Landing(settings.landing_dir).withdraw(name, by="me", reason="wrong mapping")


def batches_of(rng: random.Random) -> dict[str, list[dict]]:
    """Imports and a batch of the log over the same few ids: copies with the same and with other content."""
    rows = random_events(rng, 60)
    batches = {}
    for name in (*IMPORTS, LOG.format(60)):
        batch = []
        for row in rng.sample(rows, rng.randrange(8, 30)):
            copy = {**row, "received_us": START + rng.randrange(28, 34) * DAY}
            if rng.random() < 0.3:
                copy |= {"user_id": rng.choice(["u1", "u4"]), "source": rng.choice(["bing", name[:9], None])}
            batch.append(copy)
            if rng.random() < 0.1:
                batch.append({**copy, "received_us": START + 29 * DAY, "campaign": "again", "source": "mail"})
        for n in range(rng.randrange(0, 3)):
            bad = {"verdict": "quarantined", "reason_codes": "type", "errors": "[]", "raw": "{}"}
            batch.append(event(f"bad-{n}", START, user_id="u1", received_us=START + 31 * DAY, **bad))
        batches[name] = batch
    return batches


@pytest.mark.parametrize("seed", slow_but(1, *range(6)))
def test_withdrawn_batches_leave_what_the_others_alone_give(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    settings, without = settings_for(tmp_path / "with"), settings_for(tmp_path / "without")
    batches = batches_of(rng)
    actions = [("land", name) for name in batches]
    rng.shuffle(actions)
    gone = rng.sample(IMPORTS, rng.randrange(2, 5))
    again = [name for name in gone if rng.random() < 0.4]
    for name in gone:
        place = rng.randrange(actions.index(("land", name)) + 1, len(actions) + 1)
        actions.insert(place, ("withdraw", name))
        if name in again:
            actions.insert(rng.randrange(place + 1, len(actions) + 1), ("again", name))
    for action, name in actions:
        if action == "withdraw":
            withdraw(settings, name)
        else:
            land(settings, batches[name], name)
        if rng.random() < 0.5:
            refresh(settings)
    refresh(settings)
    result = verify(settings, PLAN)
    assert result.ok, result.first
    for name in batches:
        if name not in gone or name in again:
            land(without, batches[name], name)
    refresh(without)
    with opened(settings.warehouse_path, settings) as con:
        result = compare(con, without.warehouse_path)
    differing = {table: n for table, n in result.differences.items() if n and table != "staging.books"}
    assert not differing, result.first
    columns = "ingest_date, log_rows, raw, clean, duplicates, quarantined, suppressed"
    books = f"SELECT {columns} FROM staging.books WHERE raw > 0 ORDER BY ALL"
    assert rows_of(settings, books) == rows_of(without, books)
    lost = sum(len(batches[name]) for name in gone)
    assert rows_of(settings, "SELECT sum(withdrawn) FROM staging.books") == [(lost,)]


def test_a_copy_that_had_lost_comes_back(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    land(settings, [event("a", START, user_id="x", event_name="payment_completed")], "import-wrong")
    right = event("a", START, user_id="x", event_name="payment_completed", received_us=START + 40 * DAY)
    land(settings, [{**right, "properties": '{"amount": 7, "currency": "EUR"}'}], "import-right")
    refresh(settings)
    assert rows_of(settings, "SELECT value, currency FROM core.conversions") == [(10.0, "USD")]
    assert rows_of(settings, "SELECT * FROM meta.conflicts") == [("w", "a")]
    withdraw(settings, "import-wrong")
    assert verify(settings, PLAN).ok, "until the next refresh the warehouse is as before"
    assert refresh(settings).withdrawn == 1
    assert rows_of(settings, "SELECT value, currency FROM core.conversions") == [(7.0, "EUR")]
    assert rows_of(settings, "SELECT * FROM meta.conflicts") == []
    assert verify(settings, PLAN).ok


def test_withdrawing_goes_on_where_a_killed_one_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_for(tmp_path)
    rows = [event(f"e{n}", START + n, user_id="x", received_us=START + n * DAY) for n in range(3)]
    land(settings, rows, "import-a")
    refresh(settings)
    landing = Landing(settings.landing_dir)

    def killed(path: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gtm_dagster.warehouse.landing.withdrawals.fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            withdraw(settings, "import-a")
    assert not landing.has("import-a") and landing.files() == []
    assert refresh(settings).withdrawn == 3
    assert [batch.id for batch in landing.withdrawn()] == ["import-a.1"]
    assert not list(settings.landing_dir.glob("ingest_date=*/*.parquet"))
    land(settings, rows, "import-a")
    assert refresh(settings).clean == 3
    with pytest.raises(WithdrawalError, match="no import of this name"):
        withdraw(settings, "import-b")
