"""`gtm`: everything the web UI does, and the rest, from a shell.

Exit code 0 is ok, 1 found a problem, 2 is wrong usage. Errors are one line on stderr; a traceback is shown only when
GTM_TRACEBACK is set. This module imports nothing that the SDK alone does not have: without the extras every command
says what to install.
"""

from __future__ import annotations

import os
import sys

from gtm_dagster import __version__
from gtm_dagster.commands.extras import install_line

INTERRUPTED = 130


def run(arguments: list[str]) -> int:
    """Run one command line; returns the exit code and never raises for a user's mistake.

    What a command changes of the GTM_* variables, for itself and the programs it starts, ends with it.
    """
    before = {name: value for name, value in os.environ.items() if name.startswith("GTM_")}
    try:
        return _run(arguments)
    except ModuleNotFoundError as missing:
        if arguments == ["--version"]:
            sys.stdout.write(f"{__version__}\n")
            return 0
        line = install_line(missing)
        if line is None or os.environ.get("GTM_TRACEBACK"):
            raise
        sys.stderr.write(f"gtm: {line}\n")
        return 2
    finally:
        for name in [name for name in os.environ if name.startswith("GTM_") and name not in before]:
            del os.environ[name]
        os.environ.update(before)


def _run(arguments: list[str]) -> int:
    import typer
    from typer.exceptions import TyperException

    from gtm_dagster.commands.application import application, help_for
    from gtm_dagster.commands.output import Problem, say_error

    if "--demo" in arguments:  # an option of every command, wherever it stands in the line
        arguments = ["--demo", *(argument for argument in arguments if argument != "--demo")]
    try:
        code = application()(args=arguments, prog_name="gtm", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except typer.Exit as stop:
        if stop.exit_code == INTERRUPTED:  # typer makes it of a Ctrl-C, without a word
            say_error("stopped")
        return stop.exit_code
    except (typer.Abort, KeyboardInterrupt):
        say_error("stopped")
        return INTERRUPTED
    except TyperException as wrong:
        message = wrong.format_message() if hasattr(wrong, "format_message") else str(wrong)
        if type(wrong).__name__ == "NoArgsIsHelpError":
            typer.echo(message, err=True)
        else:
            say_error(f"{message} (see `{help_for(arguments)}`)")
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
        if isinstance(error, ModuleNotFoundError) and install_line(error):
            raise
        first = (str(error).strip() or repr(error)).splitlines()[0]
        known = type(error).__module__.startswith("gtm_dagster.")
        more = getattr(error, "problems", ())[1:] if known else ()
        kind = "" if known else f"{type(error).__name__}: "
        hint = "" if known else " (set GTM_TRACEBACK=1 to see where)"
        for line in (f"{kind}{first}{hint}", *more):
            say_error(line)
        return 1


def main() -> None:
    """Entry point of the `gtm` script."""
    code = run(sys.argv[1:])
    if "granian" in sys.modules:
        from gtm_dagster.collector.server_exit import leave_process

        leave_process(code)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
