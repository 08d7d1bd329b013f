"""Commands that messages and pages name, as they work on the deployment that is shown: over the demo each takes `--demo`."""

from __future__ import annotations

import re

_IN_BACKTICKS = re.compile(r"`(gtm [^`\n]*)`")
_ITSELF = re.compile(r"gtm (demo|init|simulate)\b")
"""Commands that name their own place."""


def command_line(words: str, *, of_demo: bool) -> str:
    """A command line that works on the same deployment; `words`: what is typed for the user's own."""
    if not of_demo or not words.startswith("gtm ") or "--demo" in words.split() or _ITSELF.match(words):
        return words
    return f"{words} --demo"


def command_lines(text: str, *, of_demo: bool) -> str:
    """A message, its commands in backticks as `command_line` has them."""
    if not of_demo:
        return text
    return _IN_BACKTICKS.sub(lambda found: f"`{command_line(found[1], of_demo=True)}`", text)
