"""shapley_ordered: Shapley values where the order of first touches tells paths apart."""

from __future__ import annotations

from gtm_dagster.attribution.declaration import Model, Options, PathCounts, PathCredit
from gtm_dagster.attribution.rate_games import credit_by_rates


def credit_of_paths(paths: PathCounts, options: Options) -> PathCredit:
    """The rate game within each order of first touches (rate_games.py); credit may be below 0."""
    return credit_by_rates(paths, ordered=True)


MODEL = Model(
    name="shapley_ordered",
    order=22,
    meaning="Shapley values of conversion rates, paths told apart by the order of first touches (dp6 attribution models).",
    credit_of_paths=credit_of_paths,
    multi_touch=True,
)
