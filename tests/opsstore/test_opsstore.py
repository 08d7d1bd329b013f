"""What the ops store promises: moves by compare-and-swap, a chained history, ledgers written once."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import update

from gtm_dagster.eventlog import Position
from gtm_dagster.opsstore import OpsStore, OpsStoreError, ProducerRow, ops_tables

KEY = "checkout:payment_completed:production"


def armed(store: OpsStore, since_us: int = 1_000) -> None:
    store.ensure(KEY, "checkout", "payment_completed", "production")
    assert store.new_epoch(KEY, 0, since_us, actor="ada", reason="first", fingerprint="f1", at_us=2_000)


def test_a_guard_begins_disarmed_and_stays_as_it_is_when_named_again(store):
    for _ in range(2):
        store.ensure(KEY, "checkout", "payment_completed", "production")
    (row,) = store.guards()
    assert (row.guard, row.state, row.version, row.epoch, row.epoch_since_us) == (KEY, "DISARMED", 0, 0, None)
    assert store.guard("another") is None


def test_arming_begins_an_epoch(store):
    armed(store)
    row = store.guard(KEY)
    assert (row.state, row.version, row.epoch, row.epoch_since_us, row.fingerprint) == ("ARMED", 1, 1, 1_000, "f1")
    assert store.epochs() == {KEY: [(1, 1_000)]}


def test_an_epoch_starts_after_the_one_before_it(store):
    armed(store)
    for since_us in (1_000, 999):
        with pytest.raises(ValueError, match="after the one before it, 1000 us"):
            store.new_epoch(KEY, 1, since_us, actor="a", reason="r", fingerprint=None, at_us=3_000)
    assert store.new_epoch(KEY, 1, 1_001, actor="a", reason="r", fingerprint=None, at_us=3_000)
    assert store.epochs() == {KEY: [(1, 1_000), (2, 1_001)]}


def test_a_move_sets_state_and_columns_once(store):
    armed(store)
    move = {"actor": "guard", "reason": "drop of 40 %", "at_us": 5_000, "detail": {"log_e": 9.5}, "episode": "e1"}
    assert store.move(KEY, 1, "ROLLING_BACK", **move)
    assert not store.move(KEY, 1, "ROLLING_BACK", **move), "the version has moved on"
    assert not store.move("another", 0, "ARMED", actor="", reason="", at_us=0), "no such guard"
    row = store.guard(KEY)
    assert (row.state, row.version, row.episode, row.reason, row.changed_us) == (
        "ROLLING_BACK", 2, "e1", "drop of 40 %", 5_000,
    )  # fmt: skip
    assert [(move.from_state, move.to_state, move.detail) for move in store.history(KEY)] == [
        ("DISARMED", "ARMED", None),
        ("ARMED", "ROLLING_BACK", {"log_e": 9.5}),
    ]
    with pytest.raises(ValueError, match="version"):
        store.move(KEY, 2, "ROLLED_BACK", actor="", reason="", at_us=0, version=9)


def test_scenario_17_of_many_that_move_at_once_one_succeeds(store, url):
    armed(store)
    won: list[int] = []
    start = threading.Barrier(8)

    def move(number: int) -> None:
        with OpsStore(url) as own:
            start.wait()
            if own.move(KEY, 1, "ROLLING_BACK", actor=str(number), reason="r", at_us=1):
                won.append(number)

    threads = [threading.Thread(target=move, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.guard(KEY).actor == str(won[0])
    assert len(store.history(KEY)) == 2
    assert store.check_chain(KEY)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        ({"reason": "nothing happened"}, "another reason"),
        ({"at_us": 1}, "another time"),
        ({"detail": '{"log_e":0.1}'}, "other evidence"),
        (None, "a move left out"),
    ],
)
def test_a_history_that_was_changed_is_found(store, harm, reason):
    armed(store)
    for version in range(1, 4):
        assert store.move(KEY, version, "ARMED", actor="a", reason="r", at_us=9, detail={"log_e": 1.5})
    assert store.check_chain(KEY)
    chosen = (ops_tables.guard_history.c.guard == KEY, ops_tables.guard_history.c.version == 3)
    with store.transaction() as con:
        con.execute(
            update(ops_tables.guard_history).where(*chosen).values(**harm)
            if harm
            else ops_tables.guard_history.delete().where(*chosen)
        )
    assert not store.check_chain(KEY), reason


def test_what_the_provider_says_is_kept_with_the_time_it_changed(store):
    assert store.flag_state(KEY) is None
    for enabled, share, fingerprint, at_us in [
        (True, 0.1, "a", 10),
        (True, 0.1, "a", 20),
        (True, 0.5, "b", 30),
        (False, None, "c", 40),
    ]:
        store.see_flag(KEY, enabled, share, fingerprint, at_us)
        seen = store.flag_state(KEY)
        assert (seen.enabled, seen.share, seen.seen_us) == (enabled, share, at_us)
    assert seen.changed_us == 40
    assert store.shares(KEY) == [(10, 0.1), (30, 0.5)]
    store.see_flag(KEY, False, None, "c", 50)
    assert store.flag_state(KEY).changed_us == 40


def test_an_episode_is_written_once(store):
    told = {
        "episode": "e1",
        "guard": KEY,
        "flag": "checkout",
        "environment": "production",
        "provider": "flagd",
        "epoch": 1,
    }
    assert store.rollback("e1") is None
    assert store.insert_rollback(**told, intent_us=5, bundle="{}")
    assert not store.insert_rollback(**told, intent_us=9)
    store.update_rollback("e1", verified=True, estimate=0.4)
    row = store.rollback("e1")
    assert (row.intent_us, row.attempt, row.verified, row.dry_run, row.estimate, row.bundle) == (
        5,
        1,
        True,
        False,
        0.4,
        "{}",
    )
    assert store.rollbacks() == [row]
    bare = msgspec.structs.replace(row, bundle=None)
    assert store.rollbacks(evidence=False) == [store.last_rollback(KEY)] == [bare]
    assert bare.bundle_sha256 == hashlib.sha256(b"{}").hexdigest()
    assert store.last_rollback("another") is None
    with pytest.raises(KeyError):
        store.update_rollback("e2", verified=True)


def test_scenario_32_a_message_stays_due_until_it_arrives_or_is_given_up(store):
    assert store.enqueue("n1", "e1", "slack", "{}", 10)
    assert not store.enqueue("n1", "e1", "slack", "{}", 20), "the same id"
    assert store.enqueue("n2", "e1", "webhook", "{}", 10)
    assert store.due(9) == []
    assert [note.id for note in store.due(10)] == ["n1", "n2"]
    store.failed("n1", "not reached", 60)
    store.failed("n2", "gone", None)
    assert store.due(59) == []
    assert [(note.id, note.attempts, note.last_error) for note in store.due(60)] == [("n1", 1, "not reached")]
    store.delivered("n1", 70)
    store.failed("n1", "too late", 80)
    assert store.due(10_000) == []
    assert [(note.id, note.status, note.delivered_us, note.last_error) for note in store.notifications("e1")] == [
        ("n1", "delivered", 70, None), ("n2", "failed", None, "gone"),
    ]  # fmt: skip


def test_a_transaction_is_whole_or_nothing(store):
    with pytest.raises(RuntimeError), store.transaction() as con:
        store.set_position(con, "stream", Position("", 7))
        store.add_cells(con, KEY, {(1, 2, "control", -1): 3})
        raise RuntimeError
    assert store.positions() == {}
    assert store.counts(KEY, 1) == []


def test_cells_add_up_and_leave_when_they_come_to_nothing(store):
    with store.transaction() as con:
        store.add_cells(
            con,
            KEY,
            {(1, 2, "control", -1): 3, (1, 2, "control", 4): 1, (1, 9, "treatment", -1): 2, (2, 2, "control", -1): 5},
        )
        store.add_cells(
            con,
            KEY,
            {(1, 2, "control", -1): 1, (1, 2, "control", 4): -1, (1, 9, "treatment", -1): -1, (1, 1, "control", -1): 0},
        )
    assert store.counts(KEY, 1) == [(2, "control", -1, 4), (9, "treatment", -1, 1)]
    assert store.counts(KEY, 1, since_slot=3) == [(9, "treatment", -1, 1)]
    assert store.counts(KEY, 2) == [(2, "control", -1, 5)]


BEATS = {"collector": (900, 1_000), "shop": (700, 990), "drill/guard-drill": (50, 1_000), "drill/checkout": (60, 1_000)}


@pytest.mark.parametrize(
    ("flag", "watermark", "reason"),
    [
        ("checkout", 700, "GD-09: the earliest producer; who calls itself its drill is not about it"),
        ("guard-drill", 50, "its drill alone"),
        ("held", 300, "a guard of it is behind"),
    ],
)
def test_the_watermark_of_a_flag(store, flag, watermark, reason):
    with store.transaction() as con:
        store.set_producers(con, [ProducerRow(name, *told) for name, told in BEATS.items()])
        store.hold(con, "held:signup_completed:production", 300, 1_000)
        store.hold(con, "held:signup_completed:production", 999, 2_000)
    assert store.watermark_us(flag) == watermark, reason


def test_a_drill_with_another_key_follows_the_one_before(store):
    with store.transaction() as con:
        beats = [("dev", 5, 1_000), ("site", 9, 2_000)]
        store.set_producers(con, [ProducerRow("drill/guard-drill", ts, at_us, key) for key, ts, at_us in beats])
    assert [row.write_key for row in store.waiting("guard-drill", 2_000, ["dev", "site"]).awaited] == ["site"]
    assert store.watermark_us("guard-drill") == 9


def test_scenario_9_a_silent_producer_is_missing_after_two_minutes(store):
    assert store.watermark_us("checkout") is None
    assert store.missing_producers("checkout", 10**15) == ()
    with store.transaction() as con:
        store.set_producers(con, [ProducerRow("shop", 5, 1_000_000), ProducerRow("collector", 9, 61_000_000)])
    assert store.missing_producers("checkout", 121_000_000) == ()
    assert store.missing_producers("checkout", 121_000_001) == ("shop",)
    with store.transaction() as con:
        store.set_producers(con, [ProducerRow("collector", 9, 61_000_000)])
        store.hold(con, "checkout:p:production", 3, 61_000_000)
    assert store.missing_producers("checkout", 200_000_000) == ("collector", "stream/checkout:p:production")
    with store.transaction() as con:
        store.release(con, "checkout:p:production")
    assert store.watermark_us("checkout") == 9


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense", "not a database address"),
        ("mysql://host/x", "not in mysql"),
        ("sqlite://", "names no file"),
        ("postgresql+psycopg://user:hidden@127.0.0.1:1/x", "refused"),
    ],
)
def test_an_address_that_cannot_work_is_told(url, told):
    with pytest.raises(OpsStoreError, match=told) as caught:
        OpsStore(url)
    assert "hidden" not in str(caught.value)


def test_a_file_that_is_no_database_is_told(tmp_path):
    path = tmp_path / "ops.db"
    path.write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(OpsStoreError, match=str(path)):
        OpsStore(f"sqlite:///{path}")


def test_sqlite_keeps_what_it_acknowledged(tmp_path: Path):
    with OpsStore(f"sqlite:///{tmp_path / 'ops.db'}") as store, store.reading() as con:
        told = {name: con.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")}
    assert told == {"journal_mode": "wal", "synchronous": 2}


def test_reading_an_open_store_writes_nothing(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'ops.db'}"
    OpsStore(url).close()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with OpsStore(url) as store:
        assert (store.guards(), store.watermark_us("f"), store.due(1), store.rollbacks()) == ([], None, [], [])
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
