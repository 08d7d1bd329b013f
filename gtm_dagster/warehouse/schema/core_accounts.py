"""`core.accounts`."""

from __future__ import annotations

from collections.abc import Mapping

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.core.accounts import build_accounts
from gtm_dagster.warehouse.schema.shared_columns import PERSON_ID, PERSON_NO
from gtm_dagster.warehouse.schema.table import AMONG_CHANGED, ByPerson, Check, Column, Table, none_of

_OVERLAPPING = """SELECT count(*) FROM (
  SELECT until_us, from_us, lead(from_us) OVER w AS next_us, row_number() OVER w AS place
  FROM core.accounts WHERE {among} WINDOW w AS (PARTITION BY person_no ORDER BY named_at))
  WHERE until_us IS DISTINCT FROM next_us OR (place = 1) <> (from_us IS NULL)"""


def _settings(settings: Settings) -> Mapping[str, object]:
    return {"account_property": settings.account_property}


TABLE = Table(
    name="core.accounts",
    meaning="The account of each person, by the property the settings name (account_property): at any moment the one that the newest event at or before it names, before the first such event the first one.",
    columns=(
        PERSON_ID,
        Column("account_id", "VARCHAR", "As the property says, a pseudonym where the plan declares it personal"),
        Column("named_at", "TIMESTAMP", "When an event first named it in this stretch, UTC"),
        Column(
            "from_us", "BIGINT", "From when on it is the person's account, microseconds UTC; NULL: from the beginning"
        ),
        Column("until_us", "BIGINT", "Until when, microseconds UTC, exclusive; NULL: it still is"),
        Column("from_day", "DATE", "Day of from_us, report time zone"),
        Column("until_day", "DATE", "Day of until_us, report time zone"),
        PERSON_NO,
    ),
    reads=("staging.events", "core.sessions"),
    step=build_accounts,
    settings=_settings,
    changes=ByPerson(),
    checks=(
        Check(
            "one_account_at_a_time",
            "A person belongs to one account at any moment.",
            none_of(_OVERLAPPING.format(among="true"), "stretches that overlap or leave a gap"),
            changed=none_of(
                _OVERLAPPING.format(among=AMONG_CHANGED), "stretches of changed persons that overlap or leave a gap"
            ),
        ),
    ),
)
