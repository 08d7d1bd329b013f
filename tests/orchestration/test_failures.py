"""A step that fails says in its first words what is wrong, and beside them what a person does."""

import dagster as dg
import duckdb
import pytest

from gtm_dagster.eventlog import LogChangedError
from gtm_dagster.orchestration.failures import in_words
from gtm_dagster.taxonomy.conform import ContractBreak
from gtm_dagster.warehouse.fingerprints import SettingsChangedError


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        pytest.param(SettingsChangedError("sessions.timeout_minutes: built with 30, now 10"), "rebuild", id="settings"),
        pytest.param(ContractBreak("a.parquet: its manifest says 5 rows"), "imports withdraw", id="a landed file"),
        pytest.param(LogChangedError("another log", "other"), "gtm doctor", id="the event log"),
        pytest.param(duckdb.IOException("no\nsuch file"), "--full", id="the warehouse, in one line"),
        pytest.param(OSError(28, "No space left on device"), "disk", id="the disk"),
    ],
)
def test_an_error_that_a_person_can_mend_says_what_to_do(error, remedy):
    with pytest.raises(dg.Failure) as raised, in_words():
        raise error
    assert raised.value.description == " ".join(str(error).split())
    assert remedy in raised.value.metadata["what to do"].value
    assert raised.value.allow_retries is False
    assert raised.value.__cause__ is error


def test_an_error_of_the_program_keeps_its_own_name():
    with pytest.raises(KeyError), in_words():
        raise KeyError("a bug")
