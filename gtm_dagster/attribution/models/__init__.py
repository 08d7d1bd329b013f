"""The registry of credit models: one file a model, its name the model's; settings, marts and commands read this list.

Belongs here: files that declare one `MODEL` each, and the registry. Does not belong here: anything two models share
(it lives beside this folder), numpy or pandas at import.
"""

import math
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from itertools import pairwise
from pkgutil import iter_modules

from gtm_dagster.attribution.declaration import (
    HALF_LIFE_HOURS,
    PAID_CHANNELS,
    POSITION_WEIGHTS,
    Model,
    Options,
    Touches,
)

__all__ = [
    "AGE_MODELS",
    "HALF_LIFE_HOURS",
    "MODELS",
    "MULTI_TOUCH_MODELS",
    "PAID_CHANNELS",
    "TOUCH_MODELS",
    "check_options",
    "model",
    "weights",
]


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


TOUCH_MODELS: tuple[str, ...] = tuple(name for name, declared in _BY_NAME.items() if not declared.data_driven)
"""Models that give shares to the touches of each conversion on its own; the others read all paths at once."""


def model(name: str) -> Model:
    """The model called `name`. Raises ValueError, listing the models, when there is none."""
    try:
        return _BY_NAME[name]
    except KeyError:
        near = "".join(f", did you mean {each}" for each in get_close_matches(name, MODELS, 1))
        raise ValueError(f"{name!r} is not an attribution model{near}; choose one of {', '.join(MODELS)}") from None


def weights(
    name: str,
    ages_hours: Sequence[float],
    half_life: float = HALF_LIFE_HOURS,
    is_direct: Sequence[bool] | None = None,
    *,
    channels: Sequence[object] | None = None,
    is_paid: Sequence[bool] | None = None,
    stages: Sequence[int] | None = None,
    position_weights: Sequence[float] = POSITION_WEIGHTS,
) -> list[float]:
    """Shares of one conversion for its touches, oldest first; they sum to 1, or are [] where there is no touch.

    Those of participation sum to the number of channels. `ages_hours`: hours from each touch to the conversion, >= 0,
    not increasing. `half_life` in hours (time_decay). `is_direct`: whether each touch is direct (last_non_direct; None:
    none is). `channels`: what each came by (None: each by its own). `is_paid`: whether each is paid (None: as its
    channel's name says). `stages`: how many stage events have each as their touch (None: none). `position_weights`:
    first, middle, last (position_based).
    Raises ValueError for an unknown or data-driven model, a negative or misordered age, a list of another length, a
    half-life that is not above 0, or weights that are not three numbers of 0 or more with one above 0.
    """
    declared = model(name)
    if declared.shares is None:
        raise ValueError(f"{name} gives credit from all paths together; one conversion alone has no shares")
    ages = [float(age) for age in ages_hours]
    for index, age in enumerate(ages):
        if not (age >= 0 and math.isfinite(age)):
            raise ValueError(f"ages_hours[{index}]: {age!r} is not a number of hours of 0 or more")
        if index and age > ages[index - 1]:
            raise ValueError(
                f"ages_hours[{index}]: {age!r} is older than the touch before it; give touches oldest first"
            )
    n = len(ages)
    given = {"is_direct": is_direct, "channels": channels, "is_paid": is_paid, "stages": stages}
    for what, values in given.items():
        if values is not None and len(values) != n:
            raise ValueError(f"{what} has {len(values)} entries for {n} touches")
    options = check_options(declared, Options(half_life_hours=half_life, weights=tuple(position_weights)))  # type: ignore[arg-type]
    if not ages:
        return []
    names = range(n) if channels is None else channels
    paid = [channel in PAID_CHANNELS for channel in names] if is_paid is None else is_paid
    return declared.shares(Touches(ages, is_direct or [False] * n, paid, names, stages or [0] * n, options))


def check_options(declared: Model, options: Options) -> Options:
    """`options`, once the half-life and the weights are ones that the model can read. Raises ValueError naming the option."""
    half_life = options.half_life_hours
    if declared.needs_half_life and not (half_life > 0 and math.isfinite(half_life)):
        raise ValueError(f"half_life_hours: {half_life!r} is not a number of hours above 0")
    shares = options.weights
    if "weights" in declared.options and not (
        len(shares) == len(POSITION_WEIGHTS) and all(0 <= share < math.inf for share in shares) and sum(shares) > 0
    ):
        raise ValueError(
            f"weights: {list(shares)} are not three shares of 0 or more, of first, middle and last touch, one above 0"
        )
    return options
