"""leave_one_out: a path's touches share it by how much less the path converts without each."""

from __future__ import annotations

from gtm_dagster.attribution.declaration import Model, Options, PathCounts, PathCredit


def credit_of_paths(paths: PathCounts, options: Options) -> PathCredit:
    """The conversions and the value of each path by `leave_one_out_shares` of its touches; never below 0."""
    import numpy as np

    from gtm_dagster.attribution.counterfactual_paths import leave_one_out_shares

    shares = leave_one_out_shares(paths)

    def by_channel(amount: np.ndarray) -> np.ndarray:
        return np.bincount(paths.channel, shares * np.asarray(amount).repeat(paths.lengths), len(paths.channels))

    return PathCredit(by_channel(paths.conversions), None if paths.value is None else by_channel(paths.value))


MODEL = Model(
    name="leave_one_out",
    order=23,
    meaning='Each path shared by what its conversion rate loses without a touch, never below 0 (Google fractribution\'s "shapley").',
    credit_of_paths=credit_of_paths,
    multi_touch=True,
)
