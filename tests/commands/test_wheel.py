"""The wheel in an empty environment: a deployment of one's own, the demo, an asset beside ours, an upgrade."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "gtm_dagster" / "orchestration" / "deployment_readme.md").read_text()

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment that has the wheel and what the lock file names, and not this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = [sys.executable, "-m", "uv"]
    found = folder / "environment" / "bin" / "python"
    for command in (
        [*uv, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)],
        [*uv, "venv", "--quiet", "--python", sys.executable, str(folder / "environment")],
        [
            *uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            str(found),
            "--require-hashes",
            "-r",
            str(ROOT / "requirements.lock"),
        ],
    ):
        subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*uv, "pip", "install", "--quiet", "--python", str(found), "--no-deps", str(wheel)], check=True)
    return found


def test_from_the_wheel_to_an_upgrade(python: Path, tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("GTM_", "PYTHON", "DAGSTER"))
    }

    def gtm(*arguments: str, code: int = 0) -> str:
        command = [str(python.parent / "gtm"), *arguments]
        done = subprocess.run(command, cwd=deployment, env=environment, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    deployment = tmp_path
    assert "settings of the stage seed" in gtm("init", "own", "--stage", "seed")
    deployment = tmp_path / "own"
    own_asset = "\n".join(line.removeprefix("    ") for line in re.findall(r"^    .*|^$", README, re.M))
    (deployment / "assets" / "letter.py").write_text(
        own_asset[own_asset.index("import dagster") : own_asset.index("pip install")]
    )
    gtm("demo", "--events", "1500")
    assert json.loads(gtm("settings", "stage", "--json"))[0]["origin"].startswith("gtm.toml line")
    checks = {
        (each["asset"], each["check"]): each["passed"]
        for each in json.loads(gtm("refresh", "--demo", "--json"))["checks"]
    }
    assert checks["own/letter", "letter_has_sessions"], "built and checked with ours"
    gtm("doctor", "--demo")

    assert gtm("init", "--diff") == ""
    shipped = next((python.parents[1] / "lib").glob("python3*/site-packages/gtm_dagster/template/assets"))
    for name in ("marts.py", "core.py"):
        with (shipped / name).open("a") as file:
            file.write("# of the next version\n")
    (deployment / "assets" / "core.py").write_text("# my own\n" + (deployment / "assets" / "core.py").read_text())
    assert gtm("init", "--diff").count("+# of the next version") == 2
    assert "assets/core.py: left" in gtm("init", "--upgrade", code=1)
    assert (deployment / "assets" / "marts.py").read_text().endswith("# of the next version\n")
    assert (deployment / "assets" / "core.py").read_text().startswith("# my own\n")
