"""The parameters of a page, from its URL: what may stand there, and what each means for a statement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from urllib.parse import urlencode

from gtm_dagster.dashboard.choices_there import Choices, Result
from gtm_dagster.reports.names_in_text import isolated
from gtm_dagster.warehouse.figures.period import Period, PeriodError, period_of, today_in
from gtm_dagster.warehouse.literals import literal

ALL = ("from", "to", "compare", "type", "currency", "model", "window", "channel", "source", "medium", "campaign")
"""The parameters that every page knows, in the order of its controls; a screen can have more of its own."""
DAYS = 30
COMPARE = ("before", "none")
NAMES = ("channel", "source", "medium", "campaign")
_MOST_ALLOWED = 30
_LONGEST = 400
"""Days; a line of more has no place on a page."""


class BadParameterError(Exception):
    """A parameter that is not known, or a value that is not allowed; the message names what is."""


@dataclass(frozen=True)
class Selection:
    """What a page shows. `before`: the period that `period` is compared with. `window_hours` belongs to `model`.

    Channel, source, medium and campaign are None where all are meant. `more`: values of the screen's own parameters.
    `given`: the parameters as they stood in the URL. `first_day`, `newest_day`: of the tables; None before the first refresh.
    `today`: in the report time zone. `last_touch`: the result that others are compared with, where there is one. `cohort_unit`: day, week or month, the length of a
    period of retention.
    """

    period: Period
    before: Period | None = None
    conversion_type: str | None = None
    currency: str | None = None
    model: str | None = None
    window_hours: float | None = None
    channel: str | None = None
    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    more: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    first_day: date | None = None
    newest_day: date | None = None
    today: date | None = None
    last_touch: Result | None = None
    cohort_unit: str = "week"

    @property
    def is_open(self) -> bool:
        """Whether the newest day of the tables lies in the period: its figures may still grow."""
        return self.newest_day is not None and self.period.since <= self.newest_day <= self.period.until

    @property
    def open_words(self) -> str:
        """What a page says of an open day; empty where none is open."""
        if not self.is_open:
            return ""
        is_over = self.today is not None and self.newest_day is not None and self.newest_day < self.today
        return f"the data ends on {self.newest_day}" if is_over else f"{self.newest_day} has not ended"

    @property
    def is_comparable(self) -> bool:
        """Whether the tables hold all of the period before."""
        return self.before is not None and self.first_day is not None and self.first_day <= self.before.since

    def url(self, path: str, **changes: str | None) -> str:
        """`path` with the parameters of this page, some of them changed; None takes one out."""
        values = {**self.given, **changes}
        text = urlencode({name: value for name, value in values.items() if value})
        return f"{path}?{text}" if text else path

    def values(self) -> dict[str, str]:
        """SQL of each value, by the name that a statement gives it after `$`."""
        before = self.before
        return {
            "from": f"DATE '{self.period.since}'",
            "to": f"DATE '{self.period.until}'",
            "days": str(self.period.days),
            "before_from": f"DATE '{before.since}'" if before else "CAST(NULL AS DATE)",
            "before_to": f"DATE '{before.until}'" if before else "CAST(NULL AS DATE)",
            "type": _text(self.conversion_type),
            "currency": _text(self.currency),
            "model": _text(self.model),
            "window": _number(self.window_hours),
            "last_touch": _text(self.last_touch.model if self.last_touch else None),
            "last_touch_window": _number(self.last_touch.window_hours if self.last_touch else None),
            **{name: _text(getattr(self, name)) for name in NAMES},
            **{name: _text(value) for name, value in self.more.items()},
        }


def selected(
    given: Sequence[tuple[str, str]], choices: Choices, zone: str, more: Mapping[str, Sequence[str]] | None = None,
    cohort_unit: str = "week", newest: date | None = None,
) -> Selection:  # fmt: skip
    """What the parameters of a URL select; `more`: the screen's own ones with their values, the first by default (no values: any text).

    The period ends on the newest day (of the tables, or `newest`) unless `to` says otherwise, and covers 30 days. Raises
    BadParameterError.
    """
    own = dict(more or {})
    values: dict[str, str] = {}
    for name, value in given:
        if name not in ALL and name not in own:
            raise BadParameterError(
                f"{isolated(name[:60])} is no parameter of this page; there are {', '.join((*ALL, *own))}"
            )
        if name in values:
            raise BadParameterError(f"{isolated(name)} stands twice in the address; write it once")
        if "\0" in value:
            raise BadParameterError(f"{name} holds a NUL character")
        if value:
            values[name] = value
    newest = newest or choices.last_day
    period = _period(values, newest or today_in(zone))
    before = period.before if _one_of(values, "compare", COMPARE) in (None, "before") else None
    conversion_type, currency = _kind(values, choices)
    model, window_hours = _result(values, choices)
    names = {part: _one_of(values, part, choices.named(part)) for part in NAMES}
    extra = {
        name: (_one_of(values, name, allowed) or allowed[0]) if allowed else values.get(name, "")
        for name, allowed in own.items()
    }
    return Selection(
        period=period, before=before, conversion_type=conversion_type, currency=currency, model=model,
        window_hours=window_hours, channel=names["channel"], source=names["source"], medium=names["medium"],
        campaign=names["campaign"], more=extra, given=values, first_day=choices.first_day, newest_day=newest,
        today=today_in(zone), last_touch=choices.last_touch, cohort_unit=cohort_unit,
    )  # fmt: skip


def _period(values: Mapping[str, str], newest: date) -> Period:
    try:
        period = period_of(values.get("from") or f"{DAYS}d", values.get("to"), newest)
        if period.days > _LONGEST:
            raise BadParameterError(f"from: {period} are {period.days} days; a page shows at most {_LONGEST}")
        _ = period.before.since - timedelta(days=1)
    except PeriodError as error:
        message = str(error).replace("since:", "from:").replace("until:", "to:")
        raise BadParameterError(message.replace("the report", "the page")) from None
    except OverflowError:
        raise BadParameterError("from: there are no days so early") from None
    return period


def _kind(values: Mapping[str, str], choices: Choices) -> tuple[str | None, str | None]:
    """Type and currency; a currency that the type does not have gives way to one that it has."""
    wanted_type = _one_of(values, "type", choices.types)
    wanted = _one_of(values, "currency", choices.currencies())
    if wanted_type is None:
        wanted_type = next((kind for kind, each in choices.kinds if wanted in (None, each)), None)
    own = [each for kind, each in choices.kinds if kind == wanted_type]
    return wanted_type, wanted if wanted in own else next(iter(own), None)


def _result(values: Mapping[str, str], choices: Choices) -> tuple[str | None, float | None]:
    """Model and window; a window that the model does not have gives way to one that it has."""
    models = list(dict.fromkeys(result.model for result in choices.computed))
    absent = next((result for result in choices.results if result.model == values.get("model")), None)
    if models and absent is not None and absent.model not in models:
        raise BadParameterError(
            f"model: {absent.label} is not computed: {absent.reason}; there are {', '.join(models)}"
        )
    model = _one_of(values, "model", models)
    windows = {plain_number(result.window_hours): result.window_hours for result in choices.computed}
    window = windows.get(_one_of(values, "window", windows) or "")
    fitting = [result for result in choices.computed if model in (None, result.model)]
    found = next((result for result in fitting if window in (None, result.window_hours)), next(iter(fitting), None))
    return (found.model, found.window_hours) if found else (None, None)


def _one_of(values: Mapping[str, str], name: str, allowed: Iterable[str]) -> str | None:
    value, known = values.get(name), list(allowed)
    if value is None or value in known or not known:
        return value  # with nothing to choose from, as before the first refresh, the page says what is missing
    listed = ", ".join(isolated(each[:60]) for each in known[:_MOST_ALLOWED])
    more = f" and {len(known) - _MOST_ALLOWED} more" if len(known) > _MOST_ALLOWED else ""
    raise BadParameterError(f"{name}: {isolated(repr(value[:60]))} is not there; there are {listed}{more}")


def plain_number(value: float) -> str:
    """A number as the URL and statements write it: every digit counts, 168.0 is 168."""
    return repr(float(value)).removesuffix(".0")


def _number(value: float | None) -> str:
    return f"CAST({'NULL' if value is None else plain_number(value)} AS DOUBLE)"


def _text(value: str | None) -> str:
    return "CAST(NULL AS VARCHAR)" if value is None else literal(value)
