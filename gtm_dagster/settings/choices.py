"""Names a setting may take because a file of that name exists, read from the folder without importing anything.

Settings stand above flag providers and sinks, so they cannot ask their registries. A new file in one of these folders
is a new allowed value; nothing here changes.
"""

from __future__ import annotations

from pkgutil import iter_modules
from typing import TYPE_CHECKING, Literal

import gtm_dagster


def module_names(folder: str) -> tuple[str, ...]:
    """Names of the modules in a folder of this package, such as `rollout/providers`, in alphabetical order.

    Packages and underscored modules are left out: they hold what the others share.
    """
    places = [f"{root}/{folder}" for root in gtm_dagster.__path__]
    names = (module.name for module in iter_modules(places) if not module.ispkg)
    return tuple(sorted(name for name in names if not name.startswith("_")))


if TYPE_CHECKING:
    CreditModel = str
    ProviderKind = str
    SinkKind = str
else:
    CreditModel = Literal[module_names("attribution/models")]
    ProviderKind = Literal[module_names("rollout/providers")]
    SinkKind = Literal[module_names("delivery/sinks")]
