"""`gtm query --work` and a writer take turns; each is told who the other is."""

import pytest
from warehouse_cases import START, event, land, refresh, settings_for

from gtm_dagster.warehouse import serving
from gtm_dagster.warehouse.serving import QueryError, query
from gtm_dagster.warehouse.writer_lock import LockHeldError, WarehouseLock


def test_while_a_run_writes_the_query_names_it_and_the_serving_copy_answers(tmp_path, monkeypatch):
    settings = settings_for(tmp_path)
    land(settings, [event("e1", START, anonymous_id="a1")], "import-1")
    refresh(settings)
    monkeypatch.setattr(serving, "WORK_WAIT_SECONDS", 0.0)
    with WarehouseLock(settings.state_dir).hold("run 1234", 1):
        with pytest.raises(QueryError, match=r"is being written by pid \d+ \(run 1234\); query the serving copy"):
            query(settings, "SELECT count(*) FROM staging.events", work=True)
        assert query(settings, "SELECT count(*) FROM core.sessions")[1] == [(1,)]


def test_while_the_working_file_is_queried_a_writer_waits_and_is_told(tmp_path, monkeypatch):
    settings = settings_for(tmp_path)
    settings.warehouse_path.touch()
    seen = []

    def asked(*_: object, **__: object):
        with pytest.raises(LockHeldError, match=r"gtm query --work") as told:
            with WarehouseLock(settings.state_dir).hold("run 1234", 0):
                pass
        seen.append(told)
        raise serving.duckdb.IOException("stop here")

    monkeypatch.setattr(serving, "opened", asked)
    with pytest.raises(QueryError, match=r"cannot be read \(stop here\)"):
        query(settings, "SELECT 1", work=True)
    assert seen


def test_a_file_that_is_no_database_is_not_called_busy(tmp_path):
    settings = settings_for(tmp_path)
    settings.serving_path.write_bytes(b"no database" * 1000)
    with pytest.raises(QueryError) as told:
        query(settings, "SELECT 1")
    assert "being written" not in str(told.value)
