"""Known answers of whole deployments: files imported, refreshed and queried by `gtm` with the examples' settings."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.known_answer import Figure, KnownAnswer, compared, rows_of
from benchmarks.scratch_deployment import Deployment

_SPEND_MAPPING = """
columns = { day = "date_day", source = "utm_source", medium = "utm_medium", campaign = "utm_campaign", cost = "spend" }
constants = { currency = "USD" }
"""
_MODELS = {
    "first_touch": ("f", "fr"),
    "last_touch": ("l", "lr"),
    "position_based": ("p", "pr"),
    "linear": ("li", "lir"),
}


def playbook(folder: Path) -> Iterator[Figure]:
    """Sessions, conversions and spend: books, credit by campaign, cost per conversion and return."""
    with tempfile.TemporaryDirectory() as scratch:
        ours = Deployment(Path(scratch) / "books", "sessions")
        books = ours.load(folder / "sessions.csv", "mapping.toml")
        yield from _books("short rows padded", books, accepted=90, quarantined=0)
        strict = (ours.folder / "mapping.toml").read_text(encoding="utf-8").replace('ragged = "pad"', "")
        other = Deployment(Path(scratch) / "strict", "sessions")
        other.write("mapping.toml", strict)
        yield from _books("short rows refused", other.load(folder / "sessions.csv", "mapping.toml"), accepted=57, quarantined=33)  # fmt: skip

        ours = Deployment(Path(scratch) / "money", "sessions")
        ours.load(folder / "sessions_normalised.csv", "mapping.toml")
        ours.load(folder / "customer_conversions_normalised.csv", "conversions.toml")
        ours.write("spend.toml", _SPEND_MAPPING)
        ours.load(folder / "ad_spend.csv", "spend.toml", "--as", "spend")
        ours.gtm("refresh")
        yield from _credit(folder, ours)
        yield from _money(folder, ours)


def _books(what: str, books: dict[str, Any], **expected: int) -> Iterator[Figure]:
    for name, number in {"read": 90, **expected}.items():
        yield Figure(f"{what}: {name}", number, books[name])


def _credit(folder: Path, ours: Deployment) -> Iterator[Figure]:
    rows = ours.rows(
        "SELECT model, source, coalesce(campaign, '') AS campaign, sum(credit) AS credit, sum(value) AS value "
        "FROM marts.attribution_credits GROUP BY ALL"
    )
    expected = rows_of(folder / "ref_by_campaign.csv")
    for model, columns in _MODELS.items():
        for column, name in zip(columns, ("credit", "value"), strict=True):
            theirs = {f"{row['utm_source']} {row['utm_campaign']}".strip(): float(row[column]) for row in expected}
            found = {_known(row): row[name] for row in rows if row["model"] == model}
            yield from compared(f"{model} {name}", theirs, found, 1e-4)  # printed to four and six places


def _known(row: dict[str, Any]) -> str:
    """Source and campaign as the file spells them."""
    return f"{row['source']} {row['campaign']}".strip()


def _money(folder: Path, ours: Deployment) -> Iterator[Figure]:
    rows = ours.rows(
        "SELECT source, sum(conversions) AS points, sum(value) AS revenue, sum(spend) AS spend, "
        "sum(spend) / nullif(sum(conversions), 0) AS cpa, sum(value) / nullif(sum(spend), 0) AS roas "
        "FROM marts.campaign_performance WHERE model = 'linear' GROUP BY source"
    )
    found = {row["source"]: row for row in rows}
    for row in rows_of(folder / "ref_cpa_and_roas.csv"):
        for theirs, name in (
            ("attribution_points", "points"), ("attribution_revenue", "revenue"), ("total_spend", "spend"),
            ("cost_per_acquisition", "cpa"), ("return_on_advertising_spend", "roas"),
        ):  # fmt: skip
            number = float(row[theirs]) if row[theirs] else None
            yield Figure(f"{name} of {row['utm_source']}", number, found.get(row["utm_source"], {}).get(name))


def shop(folder: Path) -> Iterator[Figure]:
    """Events of a shop: sessions by two timeouts, the funnel of users."""
    expected = {row["what"]: int(row["value"]) for row in rows_of(folder / "expected.csv")}
    thirty, ten, *stages = expected.values()
    with tempfile.TemporaryDirectory() as scratch:
        ours = Deployment(Path(scratch), "ecom")
        ours.load(folder / "ecom_events.csv", "mapping.toml")
        ours.gtm("refresh")
        yield Figure("sessions of 30 minutes", thirty, ours.rows("SELECT count(*) AS n FROM core.sessions")[0]["n"])
        rows = ours.rows("SELECT stage, sum(persons) AS persons FROM marts.funnel GROUP BY stage, stage_no ORDER BY stage_no")  # fmt: skip
        names = [what.rsplit(" ", 1)[-1] for what in list(expected)[2:]]
        found = {row["stage"]: row["persons"] for row in rows}
        for name, number in zip(names, stages, strict=True):
            yield Figure(f"users with {name}", number, found.get(name))
        shorter = {"GTM_SESSIONS__TIMEOUT_MINUTES": "10"}
        ours.gtm("refresh", **shorter)
        yield Figure("sessions of 10 minutes", ten, ours.rows("SELECT count(*) AS n FROM core.sessions", **shorter)[0]["n"])  # fmt: skip


def retention(folder: Path) -> Iterator[Figure]:
    """Bare transactions: who of a month's cohort comes back how many months later."""
    with tempfile.TemporaryDirectory() as scratch:
        ours = Deployment(Path(scratch), "cdnow")
        ours.load(folder / "cdnow_transactions.csv", "mapping.toml")
        ours.gtm("refresh")
        rows = ours.rows(
            "SELECT period, sum(persons) AS persons, sum(retained) AS retained FROM marts.retention "
            "WHERE cohort = DATE '1997-01-01' GROUP BY period"
        )
    found = {row["period"]: row for row in rows}
    for row in rows_of(folder / "expected_1997-01.csv"):
        mine = found.get(int(row["k"]), {"persons": None, "retained": None})
        yield Figure(f"month {row['k']}: active", int(row["active"]), mine["retained"])
        yield Figure(f"month {row['k']}: of", int(row["size"]), mine["persons"])


CASES = (
    KnownAnswer("07_dbt_playbook", "books, credit by campaign, CPA and ROAS", playbook),
    KnownAnswer("14_ecom", "sessions and funnel of a shop", shop),
    KnownAnswer("15_cdnow_retention", "monthly retention of a cohort", retention),
)
