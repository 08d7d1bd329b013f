"""shapley: what each channel adds to the others, over all orders in which channels could join."""

from __future__ import annotations

from gtm_dagster.attribution.declaration import Model, Options, PathCounts, PathCredit


def credit_of_paths(paths: PathCounts, options: Options) -> PathCredit:
    """Exact Shapley values of the channels, order and repeats of touches left aside.

    `game` volume: a coalition is worth the conversions (and the value) of all paths of no other channels; closed form,
    never below 0. rate: within each set of channels a coalition is worth its conversion rate (rate_games.py); credit may
    be below 0, and where a set has too many coalitions its orders are sampled: attribute `standard_error` is then the
    largest of the credited conversions, and column `standard_error` that of each channel; it is 0 where all is exact.
    """
    from gtm_dagster.attribution.coalitions import shared_evenly
    from gtm_dagster.attribution.rate_games import credit_by_rates

    if options.game == "rate":
        return credit_by_rates(paths, ordered=False)
    if options.game != "volume":
        raise ValueError(f"game: {options.game!r} is not volume or rate")
    value = None if paths.value is None else shared_evenly(paths, paths.value)
    return PathCredit(shared_evenly(paths, paths.conversions), value)


MODEL = Model(
    name="shapley",
    order=21,
    meaning="Exact Shapley values of the channels of each path (Shapley 1953; Zhao, Mahboobi, Bagheri 2018).",
    credit_of_paths=credit_of_paths,
    multi_touch=True,
    options=frozenset({"game"}),
)
