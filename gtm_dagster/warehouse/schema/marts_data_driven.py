"""`marts.data_driven_attribution`."""

from __future__ import annotations

from collections.abc import Mapping

from gtm_dagster.attribution.models import MODELS, model
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse import source_code
from gtm_dagster.warehouse.marts.data_driven import UNATTRIBUTED, build_data_driven
from gtm_dagster.warehouse.schema.shared_columns import CONVERSION_TYPE, CURRENCY, MODEL, WINDOW_HOURS
from gtm_dagster.warehouse.schema.table import Check, Column, Table, none_of

_MODELS = tuple(f"gtm_dagster.attribution.models.{name}" for name in MODELS if model(name).data_driven)


def _settings(settings: Settings) -> Mapping[str, object]:
    # The models are found by their names, so no import leads to them.
    return {"attribution.windows": settings.attribution.windows, "data-driven models": source_code.digest(_MODELS)[:12]}


TABLE = Table(
    name="marts.data_driven_attribution",
    meaning="Credited conversions and value by month, type, currency and channel for windows whose model reads all paths together (markov, shapley, shapley_ordered, leave_one_out); each month, type and currency is solved on its own.",
    columns=(
        Column("month", "DATE", "First day of the month of the conversions, report time zone"),
        CONVERSION_TYPE,
        CURRENCY,
        MODEL,
        WINDOW_HOURS,
        Column(
            "channel", "VARCHAR", f"Channel of the touches, or {UNATTRIBUTED}: conversions without a touch that counts"
        ),
        Column(
            "conversions",
            "DOUBLE",
            "Credited conversions; shapley (rate) and shapley_ordered may give less than 0",
            digits=6,
        ),
        Column("value", "DOUBLE", "Credited value in `currency`; NULL where the type has none", digits=4),
        Column(
            "removal_effect",
            "DOUBLE",
            "Share of the conversions lost without the channel (markov); they are scaled to add up",
            digits=9,
        ),
        Column("p_conversion", "DOUBLE", "Share of the paths that convert (markov)", digits=9),
        Column(
            "standard_error",
            "DOUBLE",
            "Of the credited conversions where orders were sampled (shapley); NULL: exact",
            digits=6,
        ),
    ),
    reads=("core.paths", "marts.attribution_status"),
    step=build_data_driven,
    settings=_settings,
    checks=(
        Check(
            "paths_are_credited_whole",
            "Credit of each month, type, currency and window adds up to its conversions and their value.",
            none_of(
                """SELECT count(*) FROM (
                  SELECT month, conversion_type, currency, model, window_hours, sum(conversions) AS n, sum(value) AS v
                  FROM marts.data_driven_attribution GROUP BY ALL) a
                FULL JOIN (
                  SELECT p.month, p.conversion_type, p.currency, p.model, p.window_hours, sum(p.conversions) AS n, sum(p.value) AS v
                  FROM core.paths p JOIN marts.attribution_status s ON s.computed AND s.model = p.model AND s.window_hours = p.window_hours
                  GROUP BY ALL HAVING sum(p.conversions) > 0) p
                ON (a.month, a.conversion_type, a.model, a.window_hours) = (p.month, p.conversion_type, p.model, p.window_hours)
                  AND a.currency IS NOT DISTINCT FROM p.currency
                WHERE a.n IS NULL OR p.n IS NULL OR abs(a.n - p.n) > 1e-9 * greatest(1, p.n)
                  OR abs(a.v - p.v) > 1e-9 * greatest(1, abs(p.v))""",
                "months whose credit is not what the paths brought",
            ),
        ),
    ),
)
