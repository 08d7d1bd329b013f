"""Names of events as other languages write them, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def distinct(names: Iterable[str], style: Callable[[str], str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Each of `names` in `style`; one that is `taken`, or that another has already, gets underscores behind it."""
    used, found = set(taken), {}
    for name in names:
        styled = style(name)
        while styled in used:
            styled += "_"
        used.add(styled)
        found[name] = styled
    return found


def pascal(name: str) -> str:
    """`signup_completed` as `SignupCompleted`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def camel(name: str) -> str:
    """`signup_completed` as `signupCompleted`."""
    whole = pascal(name)
    return whole[:1].lower() + whole[1:]
