"""`gtm tables`: the declared tables, for people and for scripts."""

import json

from gtm_dagster.cli import run
from gtm_dagster.warehouse.schema import tables


def test_every_declared_table_is_listed_and_those_of_the_house_are_not(capsys):
    assert run(["tables", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["table"] for each in listed] == [table.name for table in tables() if table.schema != "meta"]


def test_one_table_says_its_columns_its_checks_and_how_to_ask_it(capsys):
    assert run(["tables", "core.sessions"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "column,type,meaning"
    assert "session_start,TIMESTAMP,UTC; also the time of the touch" in out
    assert "checked: sessions_cover_events" in err
    assert 'gtm query "SELECT * FROM core.sessions LIMIT 20"' in err


def test_a_table_readers_do_not_get_says_where_it_is(capsys):
    assert run(["tables", "staging.events"]) == 0
    assert "gtm query --work" in capsys.readouterr().err


def test_a_name_that_is_no_table_is_wrong_usage(capsys):
    assert run(["tables", "core.session"]) == 2
    assert "'core.session' is not a table; the nearest are core.sessions" in capsys.readouterr().err
