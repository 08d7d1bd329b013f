"""Folding, pruning and what is known of pruned units, in both databases."""

from __future__ import annotations

from gtm_dagster.opsstore import FoldedRow, UnitRow

KEY = "checkout:payment_completed:production"
DAY = 86_400_000_000
C, T = "control", "treatment"
CELLS = {
    (1, 1, C, -1): 5, (1, 1, T, -1): 4, (1, 1, C, 3): 2, (1, 2, C, -1): 1, (1, 7, C, -1): 6, (1, 7, T, 9): 1,
    (1, 9, T, -1): 8, (2, 1, C, -1): 3,
}  # fmt: skip


def test_totals_are_the_same_before_while_and_after_the_worker_folds(store):
    with store.transaction() as con:
        store.add_cells(con, KEY, CELLS)
    expected = (
        [(9, 1, -1, 8)],
        [FoldedRow(0, C, 1, 2, 6, 2, 6), FoldedRow(0, T, 1, 1, 4, 0, 0), FoldedRow(5, C, 7, 7, 6, 0, 0),
         FoldedRow(5, T, 7, 7, 0, 1, 9)],
    )  # fmt: skip
    more = [True]
    for _ in range(4):
        assert store.evaluated(KEY, 1, 8, 20, [5]) == expected, f"{more}"
        with store.transaction() as con:
            more.append(store.fold_cells(con, KEY, 1, 8, [5], 2))
    assert more == [True, True, True, False, False]
    assert store.counts(KEY, 1) == [(9, T, -1, 8)] and store.counts(KEY, 2) != []
    with store.transaction() as con:
        store.add_cells(con, KEY, {(1, 2, C, -1): -1})  # what comes too late for its slot is folded after it
    assert store.evaluated(KEY, 1, 8, 20, [5])[1][0] == FoldedRow(0, C, 1, 2, 5, 2, 6)
    assert store.evaluated(KEY, 1, 0, 2, [5])[1] == [FoldedRow(0, T, 1, 1, 4, 0, 0)], "the watermark went back by days"


def test_units_are_pruned_in_slices_and_stay_known_for_days(store):
    rows = [UnitRow(f"u{n}", 1, C, 100 + n, None) for n in range(5)] + [UnitRow("u0", 2, T, 200, 250)]
    with store.transaction() as con:
        store.put_units(con, KEY, rows)
        assert [store.prune_units(con, KEY, 104, 3 * DAY, 2) for _ in range(3)] == [True, True, False]
        assert sorted(row.unit for row in store.units_since(con, KEY, 1, 0)) == ["u4"]
        assert store.units_ended(con, KEY) == {1: 103}, "two slices of two, and then nothing more before 104"
        asked = [("u0", 1), ("u0", 2), ("u4", 1), ("nobody", 1)]
        assert store.known_units(con, KEY, asked, 3 * DAY) == {("u0", 1)}
        assert store.known_units(con, KEY, asked, 12 * DAY) == set()
        assert not store.forget_known_units(con, KEY, 11 * DAY, 10)
        assert [store.forget_known_units(con, KEY, 12 * DAY, 3) for _ in range(2)] == [True, False]
        assert store.known_units(con, KEY, asked, 3 * DAY) == set()


def test_an_epoch_and_a_guard_are_forgotten_whole(store):
    with store.transaction() as con:
        store.add_cells(con, KEY, CELLS)
        store.add_left_out(con, KEY, 1, 4)
        store.add_left_out(con, KEY, 1, 3)
    assert (store.left_out(KEY, 1), store.left_out(KEY, 2)) == (7, 0)
    with store.transaction() as con:
        while store.forget_epochs(con, KEY, 2, 2):
            pass
    assert (store.left_out(KEY, 1), store.counts(KEY, 1), len(store.counts(KEY, 2))) == (0, [], 1)
    with store.transaction() as con:
        store.forget_guard(con, KEY, f"guard:{KEY}")
    assert store.counts(KEY, 2) == []


def test_a_lease_is_one_deliverers_until_it_ends(store):
    store.enqueue("n1", "e1", "webhook[0]", "{}", 5)
    assert store.lease("n1", 4, 90) is None, "not due yet"
    first = store.lease("n1", 5, 90)
    assert (first.attempts, first.lease_us) == (1, 90)
    assert store.lease("n1", 89, 200) is None and store.due(89) == []
    assert store.lease("n1", 90, 200).attempts == 2
    assert not store.delivered("n1", 91, 1) and store.delivered("n1", 91, 2)
    assert [(note.status, note.attempts, note.lease_us) for note in store.notifications()] == [("delivered", 2, None)]
