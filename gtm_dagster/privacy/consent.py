"""Whether an event may be kept: what the setting `privacy.consent` asks for in its region, and what its sender says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

DEFAULT = "default"
REFUSED_BY_GPC = {"marketing": False, "personalization": False}
"""What a browser refuses for its person that sends `Sec-GPC: 1` (https://w3c.github.io/gpc/), whatever else was agreed to."""
BLOCS = ("EU", "EEA")
_STRICTNESS: dict[str, int] = {"off": 0, "opt_out": 1, "required": 2}
_EEA = frozenset(
    [
        "AT",
        "BE",
        "BG",
        "HR",
        "CY",
        "CZ",
        "DK",
        "EE",
        "FI",
        "FR",
        "DE",
        "GR",
        "HU",
        "IE",
        "IT",
        "LV",
        "LT",
        "LU",
        "MT",
        "NL",
        "PL",
        "PT",
        "RO",
        "SK",
        "SI",
        "ES",
        "SE",
        "IS",
        "LI",
        "NO",
        "AX",
        "GF",
        "GP",
        "MF",
        "MQ",
        "RE",
        "YT",
    ]
)
"""Members of the EU and the EEA, and their parts with a country code of their own: one law holds in all of them."""
_SAME_COUNTRY = {"UK": "GB", "EL": "GR"}


@dataclass(frozen=True)
class ConsentPolicy:
    """The modes (required, opt_out, off) by region. Keys: `default`, an ISO 3166 country (US), a subdivision (US-CA), EU or EEA.

    Without `default` it is `required`. Raises ValueError for a key that is no region.
    """

    modes: Mapping[str, str] = field(default_factory=lambda: {DEFAULT: "required"})

    def __post_init__(self) -> None:
        for key in self.modes:
            if not is_region(key):
                raise ValueError(
                    f"{key!r} is not a region: default, EU, a country such as US, or a part of one such as US-CA"
                )

    def mode(self, country: str | None, region: str | None) -> str:
        """What holds at a place: its subdivision's mode, its country's, its bloc's, the default's.

        The strictest mode that can hold there when the country is not known, or its part is not and parts of it differ. Where
        the two texts name two places, such as CA (Canada) and US-CA (California), the stricter of both: either may be right.
        """
        if len(self.modes) == 1 and DEFAULT in self.modes:
            return self.modes[DEFAULT]
        return _strictest([self._mode_of(*place) for place in _places(country, region)])

    def _mode_of(self, country: str | None, part: str | None) -> str:
        if country is None:
            return _strictest([*self.modes.values(), self.modes.get(DEFAULT, "required")])
        if part is not None and part in self.modes:
            return self.modes[part]
        blocs = BLOCS if country in _EEA else ()
        whole = next((self.modes[key] for key in (country, *blocs, DEFAULT) if key in self.modes), "required")
        if part is not None:
            return whole
        return _strictest([whole, *(mode for key, mode in self.modes.items() if key.startswith(f"{country}-"))])

    def suppresses(
        self,
        analytics: object,
        basis: str | None,
        country: str | None,
        region: str | None,
        *,
        gates_consent: bool = False,
    ) -> bool:
        """Whether nothing of an event is kept.

        `analytics`: the consent it carries, None without one. `basis`: of its event in the plan; None when the plan does
        not know it, and then a refusal alone suppresses. `gates_consent`: its sender asks for consent before it sends.
        """
        if basis not in (None, "consent"):
            return False
        mode = self.mode(country, region)
        if mode == "required" and basis is not None and not gates_consent:
            return analytics is not True
        return mode != "off" and analytics is False


def consent_policy(setting: str | Mapping[str, str]) -> ConsentPolicy:
    """The policy of the setting `privacy.consent`."""
    return ConsentPolicy({DEFAULT: setting} if isinstance(setting, str) else dict(setting))


def is_region(key: str) -> bool:
    """Whether `key` may stand in a table of modes."""
    country, dash, part = key.partition("-")
    if key in (DEFAULT, *BLOCS):
        return True
    named = len(country) == 2 and country.isascii() and country.isupper()
    return named and (not dash or (0 < len(part) <= 3 and part.isascii() and part.isalnum() and part == part.upper()))


_Place = tuple[str | None, str | None]
"""ISO country, ISO subdivision; None where it is not known."""


@lru_cache(4096)
def _places(country: str | None, region: str | None) -> frozenset[_Place]:
    """The places that the texts name, one where they agree: DE and BY, or DE-BY in either field."""
    named, its_part = _read(country)
    if named is None and (country or "").strip():
        return frozenset({(None, None)})
    text = (region or "").strip().upper().replace("_", "-")
    if not text or text == named:
        return frozenset({(named, its_part)})
    of_region, part = _read(text)
    if of_region is None or part is None:  # no country stands in it: it is a part of the other field's
        whole = f"{named}-{text}"
        of_region, part = named, whole if named is not None and is_region(whole) else None
    if named is None or (named == of_region and its_part is None):
        return frozenset({(of_region, part)})
    return frozenset({(of_region, part), (named, its_part)})


def _read(text: str | None) -> _Place:
    """A country, or a country with a part of it, as one field says it."""
    code = (text or "").strip().upper().replace("_", "-")
    country, dash, part = code.partition("-")
    country = _SAME_COUNTRY.get(country, country)
    if not (len(country) == 2 and country.isascii() and country.isalpha()) or country in ("EU", "ZZ", "XX", "T1"):
        return None, None
    if not dash:
        return country, None
    return (country, f"{country}-{part}") if is_region(f"{country}-{part}") else (None, None)


def _strictest(modes: list[str]) -> str:
    return max(modes, key=_STRICTNESS.__getitem__)


REQUIRED = ConsentPolicy()
OFF = ConsentPolicy({DEFAULT: "off"})
