"""Where messages go: one file a kind of sink, its name the kind in `[[notify]]`, found by its folder.

Belongs here: files that declare one `SINK` each, and the registry. Does not belong here: what two sinks share (it lives
beside this folder).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from gtm_dagster.settings.choices import module_names

if TYPE_CHECKING:
    from gtm_dagster.opsstore import NotificationRow
    from gtm_dagster.settings import Notify


class Sink(Protocol):
    """A kind of sink."""

    kind: str

    def send(self, note: NotificationRow, declared: Notify, environ: Mapping[str, str]) -> str | None:
        """Send one message; the reason it was not taken, None when it was.

        An address may be a secret, so it never stands in the reason.
        """
        ...


def kinds() -> tuple[str, ...]:
    """The kinds of sinks, as `[[notify]]` spells them; none of them is imported."""
    return module_names("delivery/sinks")


def sink(kind: str) -> Sink:
    """The sink of a kind, imported on first use. Raises ValueError for an unknown kind, and a file that declares none."""
    if kind not in kinds():
        raise ValueError(f"{kind!r} is not a kind of sink; choose one of {', '.join(kinds())}")
    module = import_module(f"{__name__}.{kind}")
    declared: Sink | None = getattr(module, "SINK", None)
    if declared is None or declared.kind != kind:
        raise ValueError(f"{module.__file__}: declares no SINK of kind {kind!r}; a file here is one sink")
    return declared
