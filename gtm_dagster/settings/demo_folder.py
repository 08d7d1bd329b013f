"""Where the demo lies beside a deployment, and how one is known."""

from __future__ import annotations

from pathlib import Path

SUFFIX = "-demo"
MEMORY = Path("demo") / "demo.json"
"""In the demo's state directory: what was simulated and sent."""


def demo_dir(state_dir: Path) -> Path:
    """`.gtm-demo` for `.gtm`; a directory that has such a name already is the demo's."""
    return state_dir if state_dir.name.endswith(SUFFIX) else state_dir.with_name(state_dir.name + SUFFIX)


def has_demo(state_dir: Path) -> bool:
    """Whether `gtm demo` has run in this state directory."""
    return (state_dir / MEMORY).exists()


def is_demo(state_dir: Path) -> bool:
    """Whether this is what `--demo` leads to: a demo lies there, and not in a directory of one's own by an earlier version."""
    return demo_dir(state_dir) == state_dir and has_demo(state_dir)
