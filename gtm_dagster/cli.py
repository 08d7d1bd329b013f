"""`gtm`: everything the web UI does, and the rest, from a shell.

Exit code 0 is ok, 1 found a problem, 2 is wrong usage. Errors are one line on stderr; a traceback is shown only when
GTM_TRACEBACK is set.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Annotated

import typer
from typer.exceptions import TyperException

from gtm_dagster import __version__, commands
from gtm_dagster.commands.command import Command, Group
from gtm_dagster.commands.output import Invocation, Problem, say_error


def declared() -> list[Command | Group]:
    """Every command and group that a module of `commands/` declares, each in the order of the help, groups before their commands."""
    modules = [import_module(f"{commands.__name__}.{module.name}") for module in iter_modules(commands.__path__)]
    found: list[Command | Group] = [each for module in modules for each in getattr(module, "COMMANDS", ())]
    return sorted(found, key=lambda each: (each.words.count(" "), each.order, each.words))


def application() -> typer.Typer:
    """`gtm` with every declared command."""
    app = typer.Typer(
        name="gtm",
        help="Go-to-market analytics and guarded rollout: events in; sessions, attribution, funnels, retention out; broken flows off.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(options)
    groups = {"": app}
    for each in declared():
        group, _, name = each.words.rpartition(" ")
        if isinstance(each, Group):
            groups[each.words] = typer.Typer(help=each.help, no_args_is_help=True)
            groups[group].add_typer(groups[each.words], name=name)
        else:
            groups[group].command(name)(each.function)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def options(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="Settings file; default: GTM_CONFIG, else ./gtm.toml.", show_default=False)
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options of every command."""
    if config is not None:
        # Dagster's definitions and child processes read the same file.
        os.environ["GTM_CONFIG"] = str(config.absolute())
    context.obj = Invocation(config)


def _help_for(arguments: list[str]) -> str:
    known = {each.words for each in declared()}
    first = next((argument for argument in arguments if argument in known), None)
    return f"gtm {first} --help" if first else "gtm --help"


def run(arguments: list[str]) -> int:
    """Run one command line; returns the exit code and never raises for a user's mistake."""
    before = os.environ.get("GTM_CONFIG")
    try:
        code = application()(args=arguments, prog_name="gtm", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except typer.Exit as stop:
        return stop.exit_code
    except (typer.Abort, KeyboardInterrupt):
        say_error("stopped")
        return 130
    except TyperException as wrong:
        message = wrong.format_message() if hasattr(wrong, "format_message") else str(wrong)
        if type(wrong).__name__ == "NoArgsIsHelpError":
            typer.echo(message, err=True)
        else:
            say_error(f"{message} (see `{_help_for(arguments)}`)")
        return 2
    except Problem as problem:
        for line in problem.problems:
            say_error(line)
        return problem.code
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - nobody reads any more; what is flushed at exit goes nowhere
        return 1
    except Exception as error:
        if os.environ.get("GTM_TRACEBACK"):
            raise
        first = (str(error).strip() or repr(error)).splitlines()[0]
        known = type(error).__module__.startswith("gtm_dagster.")
        more = getattr(error, "problems", ())[1:] if known else ()
        kind = "" if known else f"{type(error).__name__}: "
        hint = "" if known else " (set GTM_TRACEBACK=1 to see where)"
        for line in (f"{kind}{first}{hint}", *more):
            say_error(line)
        return 1
    finally:
        if before is None:
            os.environ.pop("GTM_CONFIG", None)
        else:
            os.environ["GTM_CONFIG"] = before


def main() -> None:
    """Entry point of the `gtm` script."""
    raise SystemExit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
