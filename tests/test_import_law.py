"""The import law: what runs inside a product stays light, and a package imports only those ranked above it."""

import ast
import os
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "gtm_dagster"
HEAVY = {"dagster", "pandas", "duckdb", "pandera", "pyarrow", "numpy", "confluent_kafka", "matplotlib", "sqlite3"}

# Each may import what stands in a row above it (packages of one row do not know each other). The rows are those of the
# house (docs/architecture.md); `attribution` stands first because it imports nobody and settings read its registry.
RANKS = [
    {"attribution"},
    {"settings"},
    {"storage"},
    {"monitoring"},
    {"taxonomy"},
    {"privacy"},
    {"channels"},
    {"admission"},
    {"eventlog"},
    {"opsstore"},
    {"tracking"},
    {"gate"},
    {"collector"},
    {"micro"},
    {"importing"},
    {"warehouse"},
    {"reports"},
    {"rollout"},
    {"delivery"},
    {"triggers"},
    {"stream"},
    {"dashboard"},
    {"simulator"},
    {"demo", "chaos"},
    {"orchestration"},
    {"definitions"},
    {"commands"},
    {"cli"},
]
RANK = {name: rank for rank, row in enumerate(RANKS) for name in row}
KNOWS_DAGSTER = {"orchestration", "definitions"}


def modules() -> list[Path]:
    return [file for file in sorted(LIBRARY.rglob("*.py")) if file.parent != LIBRARY or file.stem != "__init__"]


def imported(file: Path) -> set[str]:
    """Absolute names of all imports of a module, those inside functions included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def test_every_package_has_a_rank() -> None:
    found = {
        p.stem
        for p in LIBRARY.iterdir()
        if (p.suffix == ".py" or (p / "__init__.py").exists()) and p.stem != "__init__"
    }
    assert found <= set(RANK), f"give {sorted(found - set(RANK))} a rank in RANKS"


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(LIBRARY)))
def test_a_module_imports_upwards_only(file: Path) -> None:
    own = file.relative_to(LIBRARY).parts[0].removesuffix(".py")
    for name in imported(file):
        top, _, rest = name.partition(".")
        if top in {"dagster", "dagster_duckdb"}:
            assert own in KNOWS_DAGSTER, f"{file} imports {name}"
        if top in {"assets", "sensors"}:
            assert own == "definitions", f"{file} imports {name}"
        other = rest.partition(".")[0]
        if top == "gtm_dagster" and other in RANK and other != own:
            assert RANK[other] < RANK[own], f"{file}: {own} imports {other}, which is not above it"


@pytest.mark.parametrize("folder", ["assets", "sensors"])
def test_assets_and_sensors_do_not_know_each_other(folder: str) -> None:
    other = {"assets": "sensors", "sensors": "assets"}[folder]
    for file in (ROOT / folder).rglob("*.py"):
        assert not {name for name in imported(file) if name.partition(".")[0] == other}, file


@pytest.mark.parametrize("module", ["gtm_dagster.tracking", "gtm_dagster.gate.controller", "gtm_dagster.rollout"])
def test_the_sdk_stays_light(module: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(' '.join(sys.modules))"],
        capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    loaded = {name.partition(".")[0] for name in told.stdout.split()}
    assert not loaded & HEAVY


def test_no_module_imports_itself_through_others() -> None:
    """Imports inside functions count: a circle that is broken by one is a circle all the same."""
    names = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in modules()
    }
    graph = {
        name: {other for other in imported(file) if other in names and other != name} for name, file in names.items()
    }
    # `from package import module` names both; the package itself is meant only when it is what the name comes from.
    for name, others in graph.items():
        graph[name] = (
            {other for other in others if not any(each.startswith(f"{other}.") for each in others)}
            if not names[name].name.startswith("__init__")
            else others
        )
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(f"a circle of imports: {' -> '.join(error.args[1])}") from None


def test_no_two_modules_share_a_name() -> None:
    """One word, one thing. A command and a screen may be called as what they show."""
    found: dict[str, list[str]] = {}
    for file in modules():
        if file.stem != "__init__" and file.parent.name not in {"commands", "screens"}:
            found.setdefault(file.stem, []).append(str(file.relative_to(LIBRARY)))
    assert {stem: files for stem, files in found.items() if len(files) > 1} == {}
