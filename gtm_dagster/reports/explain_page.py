"""An explained conversion as one HTML page that needs nothing else: no script, no other host, light and dark, for print too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from gtm_dagster.reports.explain_words import adds_up, age, hidden_line, printed, source, value_line, without_credit
from gtm_dagster.reports.explained_conversion import Credit, ExplainedConversion

STYLE = """
:root { color-scheme: light dark; --line: #d5d9e0; --dim: #5c6470; --soft: #f4f6f8; --bar: #2f6fb0; --text: #1b1f24; --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3a414b; --dim: #a2abb8; --soft: #22272e; --bar: #6aa9e9; --text: #e6e9ee; --page: #171b20; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 76rem; font: 15px/1.45 system-ui, sans-serif; color: var(--text); background: var(--page); }
h1 { font-size: 1.35rem; margin: 0 0 .75rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0; }
dt, .dim { color: var(--dim); }
dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { font-weight: 600; }
thead th { border-bottom-width: 2px; vertical-align: bottom; }
td.number, th.number { text-align: right; white-space: nowrap; }
tr.after td, tr.after th { background: var(--soft); }
.out { color: var(--dim); font-size: .87em; min-width: 6.5rem; text-align: right; }
.track { display: block; width: 4rem; height: .3rem; margin: .25rem 0 0 auto; border-radius: .15rem; background: var(--line); }
.share { display: block; height: 100%; border-radius: .15rem; background: var(--bar); }
.touches td:nth-child(2), .touches td:nth-child(3) { white-space: nowrap; }
.credit tbody th, .credit tfoot th { position: sticky; left: 0; background: var(--page); }
.credit tr.after th { background: var(--soft); }
tfoot th, tfoot td { border-bottom: 0; border-top: 2px solid var(--line); }
.moment td { border-bottom: 2px solid var(--bar); color: var(--bar); padding-top: .25rem; padding-bottom: .25rem; }
@media (max-width: 36rem) {
  body { padding: 1rem; font-size: 14px; }
  dl { grid-template-columns: 1fr; }
  dt { margin-top: .4rem; }
  .touches thead { display: none; }
  .touches tr { display: block; padding: .45rem 0; border-bottom: 1px solid var(--line); }
  .touches td { display: inline-block; border: 0; padding: 0 .6rem 0 0; }
  .touches td:nth-child(4) { font-weight: 600; }
  .touches td:nth-child(5) { display: block; }
  .touches tr.moment { border-bottom: 2px solid var(--bar); }
  .touches tr.after { background: var(--soft); }
}
@media print { body { max-width: none; padding: 0; font-size: 10px; } .wide { overflow: visible; } tr { break-inside: avoid; } }
"""


def explain_page(each: ExplainedConversion) -> str:
    """The whole page."""
    title = f"Credit of {each.conversion['conversion_id']}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + explain_section(each)
        + "</body>\n</html>\n"
    )


def explain_section(each: ExplainedConversion) -> str:
    """The part between the body's tags, for a page that has more."""
    return "\n".join(_parts(each)) + "\n"


def _parts(each: ExplainedConversion) -> Iterator[str]:
    conversion = each.conversion
    moment = f"{conversion['conversion_time']:%Y-%m-%d %H:%M:%S} UTC"
    yield f"<h1>Who gets the credit of {escape(str(conversion['conversion_type']))}</h1>"
    yield "<dl>"
    for name, text in (
        ("Conversion", f"<code>{escape(conversion['conversion_id'])}</code>"),
        ("Time", f"{moment}, day {conversion['day']}"),
        ("Value", escape(value_line(each))),
        ("Person", f"<code>{escape(conversion['person_id'])}</code>"),
    ):
        yield f"<dt>{name}</dt><dd>{text}</dd>"
    yield "</dl>"
    yield "<h2>Touches</h2>"
    yield from _touches(each, moment)
    currency = f" in {conversion['currency']}" if conversion["currency"] and conversion["value"] is not None else ""
    yield f"<h2>Credit{escape(currency)} by model and lookback</h2>"
    yield from _credit(each)
    for label, hours, why in each.absent:
        yield f'<p class="dim">{escape(label)} {hours:g} h: {escape(why)}</p>'


def _touches(each: ExplainedConversion, moment: str) -> Iterator[str]:
    if not each.touches:
        yield '<p class="dim">None: the person has no session.</p>'
        return
    yield '<div class="wide"><table class="touches"><thead><tr><th class="number">No.</th><th>Time, UTC</th><th>Age</th><th>Channel</th>'
    yield "<th>Source / medium / campaign</th><th>Rule</th></tr></thead><tbody>"
    is_before = True
    for number, touch in enumerate(each.touches, start=1):
        if is_before and touch.age_us < 0:
            is_before = False
            yield f'<tr class="moment"><td></td><td colspan="5">the conversion, {moment}</td></tr>'
        note = f'<br><span class="dim">{escape(touch.note)}</span>' if touch.note else ""
        rule = f"<code>{escape(touch.rule)}</code>" if touch.rule not in (None, "no source") else ""
        yield (
            f'<tr{"" if is_before else " class=after"}><td class="number">{number}</td>'
            f"<td>{touch.at:%Y-%m-%d %H:%M:%S}</td><td>{escape(age(touch))}</td><td>{escape(touch.channel)}</td>"
            f"<td>{escape(source(touch))}{note}</td><td>{rule}</td></tr>"
        )
    if is_before:
        yield f'<tr class="moment"><td></td><td colspan="5">the conversion, {moment}</td></tr>'
    yield "</tbody></table></div>"
    if line := hidden_line(each):
        yield f'<p class="dim">{escape(line)}</p>'


def _credit(each: ExplainedConversion) -> Iterator[str]:
    if not each.results:
        yield '<p class="dim">No result has credit for this conversion.</p>'
        return
    heads = "".join(
        f'<th class="number" title="{escape(result.meaning)}">{escape(result.label)}<br>'
        f'<span class="dim">{result.window_hours:g} h</span></th>'
        for result in each.results
    )
    yield f'<div class="wide"><table class="credit"><thead><tr><th class="number">No.</th><th>Channel</th>{heads}</tr></thead><tbody>'
    texts = [printed(each, result) for result in each.results]
    for number, touch in enumerate(each.touches, start=1):
        cells = "".join(
            _cell(
                text.credits[number - 1], result.credits[number - 1], without_credit(touch, result.why_out[number - 1])
            )
            for text, result in zip(texts, each.results, strict=True)
        )
        yield (
            f'<tr{"" if touch.age_us >= 0 else " class=after"}><td class="number">{number}</td>'
            f"<th>{escape(touch.channel)}</th>{cells}</tr>"
        )
    yield from _rest(
        "touches not shown",
        [(text.elsewhere, result.elsewhere) for text, result in zip(texts, each.results, strict=True)],
    )
    yield from _rest(
        "(unattributed)",
        [(text.unattributed, result.unattributed) for text, result in zip(texts, each.results, strict=True)],
    )
    sums = "".join(
        f'<td class="number">{_lines(text.total)}<br><span class="dim">{escape(adds_up(result))}</span></td>'
        for text, result in zip(texts, each.results, strict=True)
    )
    yield f"</tbody><tfoot><tr><td></td><th>Sum</th>{sums}</tr></tfoot></table></div>"


def _rest(name: str, cells: Sequence[tuple[tuple[str, str] | None, Credit | None]]) -> Iterator[str]:
    """A row of what no touch that is shown has; none where there is nothing of it."""
    if any(text for text, _ in cells):
        tds = "".join("<td></td>" if text is None else _cell(text, credit, "") for text, credit in cells)
        yield f"<tr><td></td><th>{name}</th>{tds}</tr>"


def _cell(text: tuple[str, str] | None, credit: Credit | None, otherwise: str) -> str:
    if text is None or credit is None:
        return f'<td class="out">{escape(otherwise)}</td>'
    width = min(max(credit.share, 0), 1)
    bar = f'<span class="track"><span class="share" style="width:{width:.1%}"></span></span>'
    return f'<td class="number">{_lines(text)}{bar}</td>'


def _lines(text: tuple[str, str]) -> str:
    return "<br>".join(escape(part) for part in text if part)
