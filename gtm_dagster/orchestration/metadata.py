"""Library results as Dagster metadata: numbers as numbers, column schemas, small pictures that show in place."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from gtm_dagster.reports.drawing import png, small_svg
from gtm_dagster.warehouse.figures.figure import Bar, Bars, Figure
from gtm_dagster.warehouse.schema.table import Table


def column_schema(table: Table) -> dg.TableSchema:
    """The columns of a table as they are declared."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(column.name, column.type.lower(), description=column.meaning) for column in table.columns
        ]
    )


def bars_of(title: str, rows: Sequence[tuple[str, float]]) -> Bars:
    """Bars of (label, number) under a title."""
    return Bars(title, tuple(Bar(label, value) for label, value in rows))


def inline(figure: Figure) -> dg.MarkdownMetadataValue:
    """The figure as a small SVG that is shown in place."""
    return dg.MetadataValue.md(small_svg.inline(figure))


def picture(figure: Figure) -> dg.MarkdownMetadataValue:
    """The figure at full size as a PNG, behind a link in the UI."""
    return dg.MetadataValue.md(png.picture(figure))
