"""What every command shares: settings read once, JSON on stdout, progress bars, one-line errors."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from gtm_dagster.commands.terminal_text import broken_at_blanks, in_json, on_lines, on_one_line

if TYPE_CHECKING:
    from gtm_dagster.privacy.pseudonyms import Pseudonymizer
    from gtm_dagster.settings import Origin, Settings
    from gtm_dagster.taxonomy import Plan
    from gtm_dagster.taxonomy.settings_for_plan import Deployment

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")]


class Problem(Exception):
    """An error for the user; `code` is the exit code (1 found a problem, 2 wrong usage), `more` further lines."""

    def __init__(self, message: str, code: int = 1, more: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.problems = (message, *more)


@dataclass
class Invocation:
    """The global options, and what follows from them; each part is loaded when a command asks for it."""

    config: Path | None
    of_demo: bool = False

    def command(self, words: str) -> str:
        """A command line as it works on the same deployment; `words`: what is typed for the user's own.

        Of a sentence the commands in backticks need none of it: whatever prints a sentence does it.
        """
        from gtm_dagster.reports.command_lines import command_line

        return command_line(words, of_demo=self.of_demo)

    def demo(self, *, make: bool = False) -> Invocation:
        """The same over the demo's deployment; GTM_* variables turn this process and those it starts to it.

        Unless `make`, a demo that has not run yet is a Problem: what a command left there would not be the demo's.
        """
        from gtm_dagster.demo.deployment import demo_variables
        from gtm_dagster.settings.demo_folder import has_demo

        os.environ.update(demo_variables(self.written[0]))
        demo = Invocation(self.config, of_demo=True)
        state_dir = demo.written[0].state_dir
        if not make and not has_demo(state_dir):
            raise Problem(f"there is no demo in {state_dir} yet: run `gtm demo` first")
        return demo

    @cached_property
    def written(self) -> tuple[Settings, Origin]:
        """The settings as they are written, whatever the plan says, and where each stands. A bad one is wrong usage."""
        from gtm_dagster.settings import SettingsError, read_settings

        try:
            return read_settings(self.config)
        except SettingsError as error:
            raise Problem(error.problems[0], 2, error.problems[1:]) from None

    @cached_property
    def deployment(self) -> Deployment:
        """Settings and plan that fit each other. A setting that names what plan or channels do not have is wrong usage."""
        from gtm_dagster.channels.window_channels import check_window_channels
        from gtm_dagster.settings import SettingsError
        from gtm_dagster.taxonomy.settings_for_plan import deployment_of

        settings, origin = self.written
        try:
            check_window_channels(settings, origin)
            return deployment_of(settings, self.plan, origin)
        except SettingsError as error:
            raise Problem(error.problems[0], 2, error.problems[1:]) from None

    @cached_property
    def settings(self) -> Settings:
        """The frozen settings, their names as the plan has them. Without a readable plan, as they are written."""
        from gtm_dagster.taxonomy import PlanError

        try:
            return self.deployment.settings
        except PlanError:
            return self.written[0]  # who needs the plan says what is wrong with it; a guard does not wait for that

    @property
    def notices(self) -> tuple[str, ...]:
        """A line for each setting of which defaults are left out, for the plan lacks them; none without a readable plan."""
        from gtm_dagster.taxonomy import PlanError

        try:
            return self.deployment.notices
        except PlanError:
            return ()

    @cached_property
    def plan(self) -> Plan:
        """The deployment's tracking plan. Raises PlanError."""
        from gtm_dagster.taxonomy import load_plan

        return load_plan(self.written[0].plan_file)

    @property
    def plan_name(self) -> str:
        """The plan's file as messages name it."""
        return str(self.written[0].plan_file or "the packaged plan")

    @cached_property
    def key(self) -> bytes:
        """The deployment's pseudonym key, created on first use."""
        from gtm_dagster.privacy.pseudonyms import load_or_create_key

        return load_or_create_key(self.settings.keys_dir, self.settings.privacy.pseudonym_key)

    @cached_property
    def pseudonymize(self) -> Pseudonymizer:
        """The function from identifiers to pseudonyms under the deployment's key."""
        from gtm_dagster.privacy.pseudonyms import Pseudonymizer

        return Pseudonymizer(self.key)


def invocation(context: typer.Context) -> Invocation:
    """The global options of this command line."""
    global_options = context.obj
    assert isinstance(global_options, Invocation)  # noqa: S101 - the callback of the app always sets it
    return global_options


def say(text: str) -> None:
    """A line on stdout, or several."""
    typer.echo(on_lines(text))


def say_prose(text: str) -> None:
    """A sentence on stdout, broken at blanks where a terminal has too little room, so that no name, id or command in
    backticks is split.

    Not for a line to paste: a line end in it would run the half of it.
    """
    text = _of_this_deployment(text)
    say(broken_at_blanks(on_one_line(text), _width()) if sys.stdout.isatty() else text)


def note(text: str) -> None:
    """A sentence on stderr, beside what a pipe takes from stdout, broken as `say_prose` does; several lines stay several."""
    typer.echo(_for_stderr(on_lines(text)), err=True)


def note_whole(text: str) -> None:
    """A line on stderr that a person copies: it stays one line, however long."""
    typer.echo(on_one_line(text), err=True)


def say_error(text: str) -> None:
    """An error on stderr: one line, on a terminal broken at blanks."""
    typer.echo(_for_stderr("gtm: " + on_one_line(" ".join(text.split()))), err=True)


def _of_this_deployment(text: str) -> str:
    """A sentence whose commands work on the deployment that this process works on: `Invocation.demo` turns it to the demo's."""
    state_dir = os.environ.get("GTM_STATE_DIR", "")
    if "`" not in text or not state_dir:
        return text
    from gtm_dagster.reports.command_lines import command_lines
    from gtm_dagster.settings.demo_folder import is_demo

    return command_lines(text, of_demo=is_demo(Path(state_dir)))


def _for_stderr(text: str) -> str:
    text = _of_this_deployment(text)
    if not sys.stderr.isatty():
        return text
    return "\n".join(broken_at_blanks(line, _width()) for line in text.split("\n"))


def _width() -> int:
    return shutil.get_terminal_size().columns


def utc_time(us: int | None) -> datetime | None:
    """Microseconds since 1970 as a time in UTC; None stays None."""
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC)


def say_json(document: Any) -> None:
    """One document on stdout."""
    from gtm_dagster.reports.plain_values import json_text

    sys.stdout.write(in_json(json_text(document, indent=2)) + "\n")


def _own_stderr() -> TextIO:
    """stderr by a descriptor of its own: a run of Dagster turns that of the process to a file as long as it lasts."""
    try:
        return os.fdopen(os.dup(sys.stderr.fileno()), "w")
    except (OSError, ValueError):  # stderr is no file, as in a test
        return sys.stderr


BAR_AFTER_SECONDS = 1.0
"""What is over sooner shows no bar: it would only flicker."""


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[..., None] | None]:
    """A bar on stderr for work over two seconds: yields `tell(done, total)` or `tell(step)`, None without a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    screen = _own_stderr()
    bars = Progress(*columns, console=Console(file=screen), transient=True)
    task = bars.add_task(on_one_line(title), total=None)

    def tell(*progress: Any) -> None:
        if progress and isinstance(progress[0], str):
            bars.update(task, description=on_one_line(progress[0]))
        elif progress:
            bars.update(task, completed=progress[0], total=progress[1] if len(progress) > 1 else None)

    late = Timer(BAR_AFTER_SECONDS, bars.start)
    late.daemon = True
    late.start()
    try:
        yield tell
    finally:
        late.cancel()
        late.join()
        bars.stop()
        if screen is not sys.stderr:
            screen.close()
