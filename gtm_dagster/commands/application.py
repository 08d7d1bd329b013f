"""`gtm` as a Typer application: every declared command, and the options that all of them have."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gtm_dagster import __version__, commands
from gtm_dagster.commands.command import Command, Group
from gtm_dagster.commands.output import Invocation

_LONGEST_SENTENCE = 1_000


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
        cls=WholeSentences,
    )
    app.callback()(options)
    groups = {"": app}
    for each in declared():
        group, _, name = each.words.rpartition(" ")
        if isinstance(each, Group):
            groups[each.words] = typer.Typer(help=each.help, no_args_is_help=True, cls=_group_class(each))
            groups[group].add_typer(groups[each.words], name=name)
        else:
            groups[group].command(name)(each.function)
    return app


class WholeSentences(TyperGroup):
    """Lists its commands with all of their first sentence, on several lines where the terminal is narrow."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        shown = [(name, self.commands[name]) for name in self.list_commands(ctx) if not self.commands[name].hidden]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(_LONGEST_SENTENCE)) for name, command in shown])


def _group_class(group: Group) -> type[TyperGroup]:
    """Parses what follows a group's name: with `default`, words that are none of its commands go to that command."""

    class WithDefault(WholeSentences):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            if group.default and args and args[0] != "--help" and args[0] not in self.commands:
                args = [group.default, *args]
            return super().parse_args(ctx, args)

    return WithDefault if group.default else WholeSentences


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def options(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="Settings file; default: GTM_CONFIG, else ./gtm.toml.", show_default=False)
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Work on what `gtm demo` made, not on your data; also after the command.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options of every command."""
    if config is not None:
        # Dagster's definitions and child processes read the same file.
        os.environ["GTM_CONFIG"] = str(config.absolute())
    context.obj = Invocation(config)
    if demo:
        context.obj = context.obj.demo(make=context.invoked_subcommand == "demo")


def help_for(arguments: list[str]) -> str:
    """The command line that shows the help of the first command named in `arguments`."""
    known = {each.words for each in declared()}
    words = [argument for argument in arguments if not argument.startswith("-")]
    found = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in known), None)
    return f"gtm {found} --help" if found else "gtm --help"
