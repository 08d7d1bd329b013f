"""Signatures as Standard Webhooks has them: the published vector, two secrets while one replaces the other, another's library."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from gtm_dagster.delivery.signatures import SecretError, signature, signed_headers, signing_keys

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'


def test_the_published_vector() -> None:
    found = signature(signing_keys(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, BODY)
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets_are_two_signatures() -> None:
    other = "whsec_" + base64.b64encode(b"o" * 32).decode()
    headers = signed_headers(signing_keys(f"{SECRET} {other}"), "m1", 5, BODY)
    first, second = headers["webhook-signature"].split(" ")
    assert (first, second) == (
        signature(signing_keys(SECRET), "m1", 5, BODY),
        signature(signing_keys(other), "m1", 5, BODY),
    )
    assert "webhook-signature" not in signed_headers((), "m1", 5, BODY)


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "does not begin with whsec_"),
        ("whsec_geheim!", "is not whsec_ and base64"),
        ("whsec_" + base64.b64encode(b"geheim").decode(), "holds 6 bytes; it has to hold 24 to 64"),
        (f"{SECRET} whsec_{base64.b64encode(b'x' * 65).decode()}", "secret 2 holds 65 bytes"),
    ],
)
def test_a_secret_that_is_none_is_refused_and_not_shown(secret: str, reason: str) -> None:
    with pytest.raises(SecretError, match=reason) as refused:
        signing_keys(secret)
    assert "geheim" not in str(refused.value)


def test_an_id_with_a_dot_would_make_the_signed_text_ambiguous() -> None:
    with pytest.raises(ValueError, match="has a dot"):
        signature(signing_keys(SECRET), "a.b", 5, BODY)


VERIFY = """
const { Webhook } = require("standardwebhooks");
for (const [secret, body, headers] of JSON.parse(require("fs").readFileSync(0))) {
  try { new Webhook(secret).verify(body, headers); console.log("valid"); } catch (error) { console.log(error.message); }
}
"""


@pytest.mark.real
def test_the_reference_library_for_javascript_verifies_them() -> None:
    library = Path(__file__).parents[2] / ".cache" / "standardwebhooks"
    if shutil.which("node") is None or not (library / "node_modules" / "standardwebhooks").exists():
        pytest.skip("npm standardwebhooks is not installed: make install-webhooks")
    other = "whsec_" + base64.b64encode(b"o" * 32).decode()
    now, body = int(time.time()), '{"name": "Zoë", "amount": 1e3}'
    both = signed_headers(signing_keys(f"{other} {SECRET}"), "m1", now, body.encode())
    old = signed_headers(signing_keys(SECRET), "m1", now - 3600, body.encode())
    cases = [(SECRET, body, both), (other, body, both), (SECRET, body + " ", both), (SECRET, body, old)]
    ran = subprocess.run(
        ["node", "-e", VERIFY], input=json.dumps(cases), capture_output=True, text=True, check=True, cwd=library
    )
    assert ran.stdout.split("\n")[:4] == ["valid", "valid", "No matching signature found", "Message timestamp too old"]
