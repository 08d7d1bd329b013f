"""`core.identities`."""

from __future__ import annotations

from gtm_dagster.warehouse.affected import EVENTS, OWNERS
from gtm_dagster.warehouse.core.identities import build_identities
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.schema.shared_columns import PERSON_NO
from gtm_dagster.warehouse.schema.table import AMONG_CHANGED, ByPerson, Check, Column, Table, none_of

_TWO_OWNERS = """SELECT count(*) FROM (
  SELECT 1 FROM core.identities WHERE anonymous_id IS NOT NULL {among} GROUP BY anonymous_id HAVING count(*) > 1)"""
_NO_PERSON = "SELECT count(*) FROM meta.events e LEFT JOIN meta.ids p ON p.id_no = e.person_no WHERE p.id IS NULL"
_NO_NUMBER = """SELECT (SELECT count(*) FROM meta.events WHERE person_no IS NULL)
  + (SELECT count(*) FROM meta.events WHERE person_no < 1)
  + (SELECT count(*) FROM meta.events WHERE person_no > (SELECT coalesce(max(id_no), 0) FROM meta.ids))
  + (SELECT coalesce(max(id_no), 0) - count(*) FROM meta.ids)"""
"""Ids have the numbers from 1 on, without a gap: an event has a person when its number is among them. Of row groups whose
least and largest number say so, nothing is read."""

TABLE = Table(
    name="core.identities",
    meaning="Who an anonymous id belongs to: the earliest user it was seen with, earlier events included; and which users are one person by an alias.",
    columns=(
        Column(
            "anonymous_id",
            "VARCHAR",
            "Pseudonym of the browser or device; NULL in the row of a user who is one person with another user",
            random=True,
        ),
        Column("user_id", "VARCHAR", "Pseudonym of the user it belongs to, NULL without one"),
        Column(
            "person_id",
            "VARCHAR",
            "The user's pseudonym, else the anonymous one; of users who are one person the smallest of their pseudonyms",
            random=True,
        ),
        Column("first_seen_at", "TIMESTAMP", "First event of the anonymous id, UTC"),
        Column("anonymous_no", "BIGINT", "Number of the anonymous id, within this file", local=True),
        PERSON_NO,
    ),
    reads=("staging.events",),
    step=build_identities,
    changes=ByPerson(),
    news=(EVENTS, OWNERS),
    checks=(
        Check(
            "anonymous_id_has_one_owner",
            "An anonymous id has one owner.",
            none_of(_TWO_OWNERS.format(among=""), "anonymous ids with two owners"),
            changed=none_of(
                _TWO_OWNERS.format(
                    among=composed(
                        "AND anonymous_id IN (SELECT anonymous_id FROM core.identities WHERE $among_changed)",
                        among_changed=AMONG_CHANGED,
                    )
                ),
                "anonymous ids of changed persons with two owners",
            ),
        ),
        Check(
            "every_event_has_a_person",
            "Every event belongs to a person.",
            none_of(_NO_PERSON, "events without a person"),
            changed=none_of(_NO_NUMBER, "events without a person"),
        ),
    ),
)
