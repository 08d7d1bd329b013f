"""Library results as Dagster metadata: numbers as numbers, column schemas, small pictures that show in place."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from xml.sax.saxutils import escape

import dagster as dg

from gtm_dagster.warehouse.schema.table import Table

INLINE_LIMIT = 1000
"""The UI shows markdown below 1,000 characters in place and hides longer text behind a link."""


def column_schema(table: Table) -> dg.TableSchema:
    """The columns of a table as they are declared."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(column.name, column.type.lower(), description=column.meaning) for column in table.columns
        ]
    )


def bars(title: str, rows: Sequence[tuple[str, float]]) -> dg.MarkdownMetadataValue:
    """A bar chart of at most six rows as an inline SVG small enough to be shown in place."""
    for keep in range(min(len(rows), 6), 0, -1):
        markdown = _bars(title, rows[:keep])
        if len(markdown) < INLINE_LIMIT:
            return dg.MetadataValue.md(markdown)
    return dg.MetadataValue.md(f"{title}: nothing to draw yet")


def _bars(title: str, rows: Sequence[tuple[str, float]]) -> str:
    top = max((value for _, value in rows), default=0) or 1
    path = "".join(f"M90 {i * 16 + 6}h{value / top * 150:.0f}" for i, (_, value) in enumerate(rows))
    texts = "".join(
        f"<text y='{i * 16 + 10}'>{escape(label[:15])}</text><text x='250' y='{i * 16 + 10}'>{value:,.0f}</text>"
        for i, (label, value) in enumerate(rows)
    )
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' width='310' height='{len(rows) * 16}' font-size='10'><path stroke='#47c' stroke-width='11' d='{path}'/>{texts}</svg>"
    # A space would end the address of a markdown picture, so the drawing travels as base64.
    return f"![{title}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def picture(title: str, rows: Sequence[tuple[str, float]]) -> dg.MarkdownMetadataValue:
    """The same bars at full size as a PNG (behind a link in the UI); at most 40 kB."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.4 * max(len(rows), 2) + 1), dpi=80)
    axes = figure.subplots()
    axes.barh([label for label, _ in rows][::-1], [value for _, value in rows][::-1], color="#4477cc")
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(image.getvalue()).decode()})")
