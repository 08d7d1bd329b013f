"""Where flags live: one file a provider behind one small protocol.

A guard reads a flag, turns it off and asks what a client is served; it turns no flag on. Writers of flag files can also
make and split one, for a person (`base/split_writer.py`). Every call sets an absolute state, so a repeated call does no harm. Belongs here: files that declare one `PROVIDER` each, named as the kind
in `[[providers]]`, and the registry. Does not belong here: what two providers share (`base`), or when a flag is turned
off (`control`).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from gtm_dagster.rollout.providers.base.writer import (
    Conflict,
    FlagState,
    FlagWriter,
    Provider,
    ProviderError,
)
from gtm_dagster.settings import FlagProvider
from gtm_dagster.settings.choices import module_names

__all__ = ["Conflict", "FlagState", "FlagWriter", "ProviderError", "kinds", "provider", "writer_for"]


def kinds() -> tuple[str, ...]:
    """The kinds of providers, as `[[providers]]` spells them; none of them is imported."""
    return module_names("rollout/providers")


def provider(kind: str) -> Provider:
    """The class of a kind, imported on first use. Raises ProviderError for an unknown kind.

    Raises ValueError for a file that declares no provider of its name.
    """
    if kind not in kinds():
        raise ProviderError(f"{kind!r} is not a kind of flag provider; choose one of {', '.join(kinds())}")
    module = import_module(f"{__name__}.{kind}")
    declared: Provider | None = getattr(module, "PROVIDER", None)
    if declared is None or declared.kind != kind:
        raise ValueError(f"{module.__file__}: declares no PROVIDER of kind {kind!r}; a file here is one provider")
    return declared


def writer_for(declared: FlagProvider, environ: Mapping[str, str]) -> FlagWriter:
    """The writer of a provider in gtm.toml; calls nothing yet. Raises ProviderError when its settings do not suffice."""
    return provider(declared.kind).of(declared, environ)
