"""`core.identities`."""

from __future__ import annotations

from gtm_dagster.warehouse.core.identities import build_identities
from gtm_dagster.warehouse.schema.shared_columns import PERSON_NO
from gtm_dagster.warehouse.schema.table import ByPerson, Check, Column, Table, none_of

TABLE = Table(
    name="core.identities",
    meaning="Who an anonymous id belongs to: the earliest user it was seen with, earlier events included; and which users are one person by an alias.",
    columns=(
        Column(
            "anonymous_id",
            "VARCHAR",
            "Pseudonym of the browser or device; NULL in the row of a user who is one person with another user",
        ),
        Column("user_id", "VARCHAR", "Pseudonym of the user it belongs to, NULL without one"),
        Column(
            "person_id",
            "VARCHAR",
            "The user's pseudonym, else the anonymous one; of users who are one person the smallest of their pseudonyms",
        ),
        Column("first_seen_at", "TIMESTAMP", "First event of the anonymous id, UTC"),
        Column("anonymous_no", "BIGINT", "Number of the anonymous id, within this file", local=True),
        PERSON_NO,
    ),
    reads=("staging.events",),
    step=build_identities,
    changes=ByPerson(),
    checks=(
        Check(
            "anonymous_id_has_one_owner",
            "An anonymous id has one owner.",
            none_of(
                "SELECT count(*) FROM (SELECT 1 FROM core.identities WHERE anonymous_id IS NOT NULL GROUP BY anonymous_id HAVING count(*) > 1)",
                "anonymous ids with two owners",
            ),
        ),
    ),
)
