"""`gtm init`: a deployment of one's own, and what an upgrade changes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, note, say, say_json

if TYPE_CHECKING:
    from gtm_dagster.orchestration.deployment_template import Change


def init(
    folder: Annotated[Path, typer.Argument(help="The deployment's folder; default: this one.")] = Path(),
    stage: Annotated[
        str | None,
        typer.Option(help="Preset of settings: pre_seed, seed, series_a, plg or sales_led (docs/stages.md)."),
    ] = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="What the templates of this version changed since the files were written.")
    ] = False,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Take those changes, but for files that the deployment changed itself.")
    ] = False,
    json: Json = False,
) -> int:
    """Write a deployment: assets, sensors, settings, tracking plan and a README; `gtm dev` runs it from its folder.

    Exit 1 of --upgrade: a file is left for you to merge.
    """
    from gtm_dagster.orchestration import deployment_template as template
    from gtm_dagster.settings.nearest import known_names
    from gtm_dagster.settings.stage_presets import PRESETS

    if (diff or upgrade) and stage is not None:
        raise Problem("--stage: a deployment keeps its stage in gtm.toml; change it there", 2)
    if stage is not None and stage not in PRESETS:
        raise Problem(f"--stage: {stage!r} is not a stage; {known_names(stage, PRESETS)}", 2)
    try:
        return _run(folder, stage, diff, upgrade, json)
    except template.TemplateError as error:
        raise Problem(str(error)) from None


def _run(folder: Path, stage: Any, diff: bool, upgrade: bool, json: bool) -> int:
    from gtm_dagster.orchestration import deployment_template as template
    from gtm_dagster.reports.number_text import counted

    if diff:
        _say_changes(template.changes(folder), json)
        return 0
    if upgrade:
        taken, left = template.upgrade(folder)
        if json:
            say_json({"taken": [change.path for change in taken], "left": [change.path for change in left]})
            return 1 if left else 0
        for change in taken:
            say(f"{change.path}: taken")
        for change in left:
            say(f"{change.path}: left, you have changed it too; `gtm init --diff` shows what to merge")
        if not taken and not left:
            say("the templates have not changed")
        return 1 if left else 0
    files = template.write_deployment(folder, stage)
    if json:
        say_json({"folder": str(folder.absolute()), "stage": stage, "files": files})
        return 0
    say(f"{counted(len(files), 'file')} in {folder.absolute()}" + (f", settings of the stage {stage}" if stage else ""))
    here = folder.absolute() == Path.cwd()
    say(f"next: `{'' if here else f'cd {folder} && '}gtm dev`")
    return 0


def _say_changes(changes: list[Change], json: bool) -> None:
    if json:
        say_json([_document(change) for change in changes])
        return
    if not changes:
        note("the templates have not changed")
    for change in changes:
        whose = "you have changed it too: merge by hand" if change.is_own else "`gtm init --upgrade` takes it"
        say(f"# {change.path}: {whose}")
        say(change.diff().rstrip("\n"))


def _document(change: Change) -> dict[str, Any]:
    return {"path": change.path, "changed_here": change.is_own, "diff": change.diff()}


COMMANDS = (Command("init", init, order=5),)
