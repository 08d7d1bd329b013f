"""The lock files: a user gets what runs and nothing else, every file of it by its hash, under licences that oblige nobody."""

import re
import tomllib
from pathlib import Path

import pytest

from gtm_dagster.channels.public_lists import PUBLIC_LISTS, origin_of
from scripts.licences import PAGE, PIN, is_strong_copyleft, public_lists

ROOT = Path(__file__).parents[1]
USER, TOOLS = ((ROOT / name).read_text() for name in ("requirements.lock", "requirements-dev.lock"))


def _pins(lock: str) -> dict[str, str]:
    return {name: version for name, version, _ in PIN.findall(lock)}


def test_a_user_gets_none_of_the_tools_of_development():
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    names = {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in group}
    assert names <= _pins(TOOLS).keys()
    assert not names & _pins(USER).keys()


def test_what_stands_in_both_locks_is_of_one_version():
    user, tools = _pins(USER), _pins(TOOLS)
    assert {name: user[name] for name in user.keys() & tools.keys()} == {
        name: tools[name] for name in user.keys() & tools.keys()
    }


@pytest.mark.parametrize("lock", [USER, TOOLS], ids=["user", "tools"])
def test_every_pin_has_hashes_and_no_address(lock):
    assert not re.search(r"https?://|git\+|--index-url", lock)
    blocks = re.split(r"\n(?=[A-Za-z0-9])", lock)
    assert all("--hash=sha256:" in block for block in blocks if "==" in block.splitlines()[0] and block[0] != "#")


def test_the_page_of_licences_is_of_this_lock_and_names_no_strong_copyleft():
    listed = [
        line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if re.match(r"\| [a-z0-9]", line)
    ][1:]
    assert {cells[0]: cells[1] for cells in listed} == _pins(USER), "run make audit"
    assert [cells[0] for cells in listed if is_strong_copyleft(cells[2]) or cells[2] == "?"] == []


def test_the_page_of_licences_names_every_public_list():
    page = PAGE.read_text()
    assert "\n".join(public_lists()) in page, "run make audit"
    for each in map(origin_of, PUBLIC_LISTS):
        assert each.licence.startswith("MIT, Copyright"), each


@pytest.mark.parametrize(
    ("licence", "strong"),
    [
        ("MIT", False),
        ("GPL-3.0-only", True),
        ("AGPL-3.0-or-later", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("GNU Affero General Public License v3", True),
        ("SSPL-1.0", True),
        ("LGPL-3.0-only", False),
        ("GNU Library or Lesser General Public License (LGPL)", False),
        ("GPL-2.0-only OR MIT", False),
        ("MPL-2.0 AND MIT", False),
        ("Python Software Foundation License", False),
    ],
)
def test_what_a_strong_copyleft_is(licence, strong):
    assert is_strong_copyleft(licence) is strong
