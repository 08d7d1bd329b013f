"""`gtm channel explain`: the channel of what an event says, the rule that fired, and the list behind it with its licence."""

import json
from pathlib import Path

import pytest

from gtm_dagster.cli import run

OWN, PUBLIC = "Apache-2.0, this project", "MIT, Copyright (c) 2022 Adam Ribaudo"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GTM_CONFIG", raising=False)
    (tmp_path / "gtm.toml").write_text('own_hosts = ["acme-shop.example"]\nstate_dir = "state"\n')


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    capsys.readouterr()
    assert run(["channel", "explain", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "channel", "rule", "decided", "licence"),
    [
        (["--source", "google", "--medium", "cpc"], "Paid Search", "utm medium cpc", "sources.yaml", OWN),
        (["--source", "43things"], "Organic Social", "utm source", "ga4_sources.csv", PUBLIC),
        (["--source", "newsletter", "--medium", "email"], "Email", "utm medium email", None, None),
        (["--referrer", "https://www.google.fr/"], "Organic Search", "referrer search google", "sources.yaml", OWN),
        (["--referrer", "https://blog.goo.ne.jp/x"], "Organic Social", "referrer social blog.goo.ne.jp", "ga4_sources.csv", PUBLIC),
        (["--referrer", "https://x.example/"], "Referral", "referrer site", None, None),
        (["--referrer", "https://docs.google.com/d"], "Referral", "referrer workspace docs.google.com", "workspaces.yaml", OWN),
        (["--referrer", "https://accounts.google.com/"], "Direct", "sign-in page", "returns.yaml", OWN),
        (["--referrer", "https://checkout.stripe.com/c"], "Direct", "payment page", "returns.yaml", OWN),
        (["--referrer", "https://login.acme.example/"], "Direct", "sign-in page", "a label in front of the host (channels/sources.py)", OWN),
        (["--referrer", "https://acme-shop.example/"], "Direct", "own host", "the page's own site, or own_hosts in gtm.toml", None),
        (["--page", "https://a.example/", "--referrer", "about:blank"], "Direct", "no source", None, None),
        (["--campaign", "spring"], "Unassigned", "utm campaign", None, None),
        (["--campaign", "spring", "--referrer", "https://www.bing.com/"], "Organic Search", "utm campaign + referrer search bing", "sources.yaml", OWN),
        (["--click-id", "gclid=1"], "Paid Search", "click id gclid", "click_ids.py", OWN),
        (["--page", "https://a.example/?gclid=1"], "Paid Search", "click id gclid", "click_ids.py", OWN),
        (["--page", "https://a.example/?utm_source=fb&utm_medium=paid"], "Paid Social", "utm medium paid", "sources.yaml", OWN),
        (["--source", "google", "--click-id", "gclid=1"], "Paid Search", "utm source + click id gclid", "click_ids.py", OWN),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_what_decides_is_named(capsys, arguments, channel, rule, decided, licence):
    found = explained(capsys, *arguments)
    assert (found["channel"], found["rule"], found["list"], found["licence"]) == (channel, rule, decided, licence)


def test_people_read_a_line_each_and_nothing_is_wrong_usage(capsys):
    assert run(["channel", "explain", "--referrer", "https://www.google.com/"]) == 0
    assert "rule:      referrer search google" in capsys.readouterr().out
    assert run(["channel", "explain"]) == 2
