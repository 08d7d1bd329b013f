"""An import may land while a run is under way; the books speak of what the run could have seen, and of all of that."""

import os

import pytest
from warehouse_cases import PLAN, START, event, land, refresh, settings_for

from gtm_dagster.warehouse.build import all_checks
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.verify import verify

BOOKS = [check for _, check in all_checks() if check.name in ("books_balance", "staged_days_recount")]


def looked(settings):
    with opened(settings.warehouse_path, settings) as con:
        return {check.name: check.run(con, BuildContext(settings, PLAN)) for check in BOOKS}


def landed_and_staged(tmp_path, batches):
    settings = settings_for(tmp_path)
    for number in range(batches):
        land(settings, [event(f"e{number}", START, anonymous_id="x")], f"import-{number}")
        refresh(settings)
    return settings


def test_a_batch_that_lands_after_staging_waits_for_the_next_run(tmp_path):
    settings = landed_and_staged(tmp_path, 2)
    land(settings, [event("late", START, anonymous_id="x")], "import-late")
    results = looked(settings)
    assert len(results) == 2
    assert all(result.passed for result in results.values())
    assert results["books_balance"].metadata["rows_landed_meanwhile"] == 1
    assert refresh(settings).clean == 1


def test_a_batch_that_was_there_and_was_not_read_is_missed(tmp_path):
    settings = landed_and_staged(tmp_path, 2)
    land(settings, [event("lost", START, anonymous_id="x")], "import-lost")
    os.utime(settings.landing_dir / "_batches" / "import-lost.json", (0, 0))
    assert [name for name, result in looked(settings).items() if not result.passed] == [
        "books_balance",
        "staged_days_recount",
    ]


def test_a_staged_batch_that_is_gone_is_missed(tmp_path):
    settings = landed_and_staged(tmp_path, 2)
    (settings.landing_dir / "_batches" / "import-0.json").unlink()
    books = looked(settings)["books_balance"]
    assert not books.passed
    assert f"1 rows that were staged are not in {settings.landing_dir} any more: restore" in books.description


@pytest.mark.slow
def test_verifying_speaks_of_what_is_staged(tmp_path):
    settings = landed_and_staged(tmp_path, 2)
    land(settings, [event("late", START, anonymous_id="x")], "import-late")
    assert verify(settings, PLAN).ok
    (settings.landing_dir / "_batches" / "import-0.json").unlink()
    assert verify(settings, PLAN).differences["staging.events"] == 1
    assert not list(tmp_path.glob("gtm-verify-*"))
