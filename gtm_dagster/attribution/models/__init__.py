"""The registry of credit models: one file a model, its name the model's; settings, marts and commands read this list.

Belongs here: files that declare one `MODEL` each, and the registry. Does not belong here: anything two models share
(it lives beside this folder), numpy or pandas at import.
"""

import math
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from pkgutil import iter_modules

from gtm_dagster.attribution.declaration import HALF_LIFE_HOURS, Model, Touches

__all__ = ["AGE_MODELS", "HALF_LIFE_HOURS", "MODELS", "MULTI_TOUCH_MODELS", "model", "weights"]


def discover() -> dict[str, Model]:
    """The model of every file of the folder by name, in their order. Raises ValueError for a file without one."""
    found = [(module.name, import_module(f"{__name__}.{module.name}")) for module in iter_modules(__path__)]
    models: list[Model] = []
    for name, module in found:
        declared = getattr(module, "MODEL", None)
        if not isinstance(declared, Model) or declared.name != name:
            raise ValueError(f"{module.__file__}: declares no MODEL named {name!r}; a file here is one model")
        models.append(declared)
    models.sort(key=lambda declared: declared.order)
    for one, other in pairwise(models):
        if one.order == other.order:
            raise ValueError(f"models {one.name} and {other.name} both have order {one.order}; give each its own")
    return {declared.name: declared for declared in models}


_BY_NAME = discover()

MODELS: tuple[str, ...] = tuple(_BY_NAME)
"""Names of the models, as settings, commands and tables spell them."""

AGE_MODELS: frozenset[str] = frozenset(name for name, declared in _BY_NAME.items() if declared.needs_ages)
"""Models whose shares depend on how old each touch is, not only on its place in the path."""

MULTI_TOUCH_MODELS: frozenset[str] = frozenset(name for name, declared in _BY_NAME.items() if declared.multi_touch)
"""Models that may give credit to more than one touch of a conversion; the history gate applies to them."""


def model(name: str) -> Model:
    """The model called `name`. Raises ValueError, listing the models, when there is none."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ValueError(f"{name!r} is not an attribution model; choose one of {', '.join(MODELS)}") from None


def weights(
    name: str,
    ages_hours: Sequence[float],
    half_life: float = HALF_LIFE_HOURS,
    is_direct: Sequence[bool] | None = None,
) -> list[float]:
    """Shares of one conversion for its touches, oldest first; they sum to 1, or are [] where there is no touch.

    `ages_hours`: hours from each touch to the conversion, >= 0, not increasing. `half_life` in hours (time_decay only).
    `is_direct`: whether each touch is direct (last_non_direct only; None means none is).
    Raises ValueError for an unknown model, a negative or misordered age, or a half-life that is not above 0.
    """
    declared = model(name)
    ages = [float(age) for age in ages_hours]
    for index, age in enumerate(ages):
        if not (age >= 0 and math.isfinite(age)):
            raise ValueError(f"ages_hours[{index}]: {age!r} is not a number of hours of 0 or more")
        if index and age > ages[index - 1]:
            raise ValueError(
                f"ages_hours[{index}]: {age!r} is older than the touch before it; give touches oldest first"
            )
    if not ages:
        return []
    direct = list(is_direct) if is_direct is not None else [False] * len(ages)
    if declared.needs_direct and len(direct) != len(ages):
        raise ValueError(f"is_direct has {len(direct)} entries for {len(ages)} touches")
    if declared.needs_half_life and not (half_life > 0 and math.isfinite(half_life)):
        raise ValueError(f"half_life: {half_life!r} is not a number of hours above 0")
    return declared.shares(Touches(ages, direct, half_life))
