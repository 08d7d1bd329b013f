"""markov: credit by how much conversion would be lost without a channel, in a chain fitted to all paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtm_dagster.attribution.declaration import Model, Options, PathCounts, PathCredit

if TYPE_CHECKING:
    import numpy as np


def credit_of_paths(paths: PathCounts, options: Options) -> PathCredit:
    """Removal effects, divided by their sum, of all conversions (and of all value, by the effects on value).

    Effects add up to more than 1; that they are scaled to the conversions there were is a choice, not a fact. A channel
    whose effect is below 0 (refit, detour) gets 0. Where no effect is above 0, each conversion is shared evenly by the
    channels of its path. Columns: removal_effect, and removal_effect_value where there are values; attributes:
    p_conversion, and `error`, the bound on its error (markov_chain.py).
    """
    from gtm_dagster.attribution.markov_chain import removal_effects

    effects = removal_effects(paths, options.order, options.nulls, options.removal)
    columns = {"removal_effect": effects.conversions}
    value = None
    if paths.value is not None and effects.value is not None:
        columns["removal_effect_value"] = effects.value
        value = _scaled(effects.value, paths, paths.value)
    return PathCredit(
        conversions=_scaled(effects.conversions, paths, paths.conversions),
        value=value,
        columns=columns,
        attrs={"p_conversion": effects.p_conversion, "error": effects.error},
    )


def _scaled(effects: np.ndarray, paths: PathCounts, amount: np.ndarray) -> np.ndarray:
    import numpy as np

    from gtm_dagster.attribution.coalitions import shared_evenly

    shares = np.maximum(effects, 0.0)
    total = shares.sum()
    return shares * (amount.sum() / total) if total > 0 else shared_evenly(paths, amount)


MODEL = Model(
    name="markov",
    order=20,
    meaning="Credit by removal effect in an absorbing Markov chain of the paths (Anderl et al. 2016), solved exactly.",
    credit_of_paths=credit_of_paths,
    multi_touch=True,
    options=frozenset({"order", "nulls", "removal"}),
)
