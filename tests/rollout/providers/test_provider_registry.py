"""A provider is one file: found by its name, imported on first use, allowed in gtm.toml because it is there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from provider_cases import CASES

from gtm_dagster.rollout.providers import ProviderError, kinds, provider, writer_for
from gtm_dagster.settings import FlagProvider

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("kind", kinds())
def test_every_file_declares_the_provider_of_its_name(kind: str) -> None:
    assert provider(kind).kind == kind


def test_every_provider_over_http_runs_through_the_contract() -> None:
    assert {case.kind for case in CASES} == set(kinds()) - {"flagd"}, (
        "flagd has no API; test_flag_file.py has its cases"
    )


@pytest.mark.parametrize("kind", ["optimizely", "base", "__init__", ""])
def test_an_unknown_kind_is_refused_with_those_there_are(kind: str) -> None:
    with pytest.raises(ProviderError, match="is not a kind of flag provider; choose one of flagd, flagsmith, goff"):
        writer_for(FlagProvider("main", kind), {})


NEW = """
import json, sys
import gtm_dagster
gtm_dagster.__path__.append(sys.argv[1])
import gtm_dagster.rollout.providers as providers
providers.__path__.append(sys.argv[1] + "/rollout/providers")
from gtm_dagster.settings import load_settings
from pathlib import Path
(declared,) = load_settings(Path(sys.argv[2]), {}).providers
lazy = "gtm_dagster.rollout.providers.acme" not in sys.modules
try:
    writer = providers.writer_for(declared, {"T": "token"})
    print(json.dumps([lazy, declared.kind, writer]))
except ValueError as error:
    print(json.dumps(str(error)))
"""


def outcome_with(folder: Path, source: str) -> object:
    """What a process makes of a deployment that declares the provider `acme`, whose file is `source`."""
    file = folder / "rollout" / "providers" / "acme.py"
    file.parent.mkdir(parents=True)
    file.write_text(source)
    config = folder / "gtm.toml"
    config.write_text('[[providers]]\nname = "main"\nkind = "acme"\n')
    done = subprocess.run(
        [sys.executable, "-c", NEW, str(folder), str(config)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return json.loads(done.stdout)


def test_a_new_file_is_a_new_kind(tmp_path: Path) -> None:
    source = """
class Acme:
    kind = "acme"

    @classmethod
    def of(cls, declared, environ):
        return [declared.name, environ["T"]]


PROVIDER = Acme
"""
    assert outcome_with(tmp_path, source) == [True, "acme", ["main", "token"]]


@pytest.mark.parametrize(
    "source",
    ["", "class Acme:\n    kind = 'other'\n\nPROVIDER = Acme"],
    ids=["it declares none", "it declares one of another name"],
)
def test_a_file_that_is_no_provider_is_an_error_that_names_it(tmp_path: Path, source: str) -> None:
    message = outcome_with(tmp_path, source)
    assert isinstance(message, str) and message.endswith(
        "acme.py: declares no PROVIDER of kind 'acme'; a file here is one provider"
    )
