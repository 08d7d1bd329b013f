"""One POST to the address of a sink, and the reason it was not taken, which never names the address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from gtm_dagster.settings import Notify

TIMEOUT_SECONDS = 3.0


def post_json(declared: Notify, environ: Mapping[str, str], body: dict[str, Any]) -> str | None:
    """POST `body` to the sink's address (in gtm.toml, or in the variable it names); redirects are not followed."""
    url = declared.url or environ.get(declared.url_env or "")
    if not url:
        variable = declared.url_env
        return f"no address: set {variable}" if variable else "no address: give url or url_env under [[notify]]"
    try:
        response = requests.post(url, json=body, timeout=TIMEOUT_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        return f"not reached ({type(error).__name__})"
    return None if response.status_code // 100 == 2 else f"answered {response.status_code}"
