"""Live and in a backtest, a guard counts the same records: those of server keys, and of the client keys it names."""

from __future__ import annotations

import msgspec
import pyarrow as pa
import pytest
from stream_cases import GUARD, KEY, MINUTE, NOON, C, Deployment, T, conversion, exposure

from gtm_dagster.eventlog import Record
from gtm_dagster.rollout.control.past_counts import BacktestError, _believed, read_past_counts
from gtm_dagster.settings import Settings


@pytest.mark.parametrize(
    ("names", "counts"),
    [((), [True, False, True]), (("web",), [True, True, True])],
    ids=["none named", "the key named"],
)
def test_a_past_is_believed_by_the_rule_of_the_live_guard(names, counts):
    columns = {"write_key": ["shop", "web", "old"], "key_role": [None, "client", None]}
    assert _believed(pa.table(columns), names).to_pylist() == counts


def test_a_past_without_roles_is_believed_whole():
    assert _believed(pa.table({"write_key": ["shop", "web"]}), ()).to_pylist() == [True, True]


@pytest.mark.skipif("key_role" not in Record.__struct_fields__, reason="records say no roles yet")
@pytest.mark.parametrize(
    ("names", "units", "left_out"), [((), 2, 4), (("web",), 4, 0)], ids=["none named", "the key named"]
)
def test_live_and_backtest_count_the_same(tmp_path, names, units, left_out):
    guard = msgspec.structs.replace(GUARD, write_keys=names)
    here = Deployment(tmp_path, guard)
    web = {"write_key": "web", "key_role": "client"}
    here.count(
        [
            exposure("ana", T, NOON), conversion("ana", NOON + MINUTE), exposure("bo", C, NOON + 1),
            exposure("eve", T, NOON, **web), exposure("mallory", C, NOON, **web), conversion("eve", NOON + 9, **web),
            conversion("ana", NOON + 9, **web),
        ]
    )  # fmt: skip
    live = here.counts(guard=guard)
    assert here.store.left_out(KEY, 1) == left_out
    here.close()
    settings = msgspec.structs.replace(Settings(), state_dir=tmp_path, guards=(guard,))
    past = read_past_counts(settings, guard.flag, guard.conversion, 10, write_keys=guard.write_keys)
    assert past.counts.rows() == live and past.left_out == left_out
    assert sum(n for _, _, age, n in live if age < 0) == units


@pytest.mark.skipif("key_role" not in Record.__struct_fields__, reason="records say no roles yet")
def test_a_past_of_client_keys_alone_says_what_to_name(tmp_path):
    here = Deployment(tmp_path)
    here.append([exposure("eve", T, NOON, write_key="web", key_role="client")])
    here.close()
    settings = msgspec.structs.replace(Settings(), state_dir=tmp_path)
    with pytest.raises(BacktestError, match="1 exposures and conversions, all of client keys; write_keys of the guard"):
        read_past_counts(settings, GUARD.flag, GUARD.conversion, 10)
