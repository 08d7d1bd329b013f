"""How much of its cases a test draws: all in `make test-real`; a part, and always the same, in `make test`."""

from typing import Any

import pytest
from hypothesis import Phase, settings

FULL, FAST = 100, 20

# Without a deadline: where tests share their cores a time says nothing.
settings.register_profile("fast", max_examples=FAST, derandomize=True, deadline=None)

# Making a failing draw small can take five minutes of each test that fails. What CI says is that it fails, and with what:
# the failing draw is stored in .hypothesis, and the one test again with `--hypothesis-profile=shrink` begins with it.
_REPORT = [phase for phase in Phase if phase not in (Phase.shrink, Phase.explain)]
settings.register_profile("full", max_examples=FULL, print_blob=True, deadline=None, phases=_REPORT)
settings.register_profile("shrink", max_examples=FULL, print_blob=True, deadline=None)


def examples(full: int, **more: Any) -> settings:
    """The settings of a test that draws `full` examples under the profile `full`, and its share of them under `fast`."""
    return settings(max_examples=max(1, full * settings.default.max_examples // FULL), **more)


def slow_but(fast: int, *cases: Any) -> list[Any]:
    """The cases of a parametrised test, all but the first `fast` of them marked slow."""
    return [*cases[:fast], *(_slow(case) for case in cases[fast:])]


def _slow(case: Any) -> Any:
    if isinstance(case, type(pytest.param())):
        return pytest.param(*case.values, id=case.id, marks=[*case.marks, pytest.mark.slow])
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
