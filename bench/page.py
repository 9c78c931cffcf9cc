"""A measurement as one self-contained page: a table, percentile curves, bars of ratios. No script, no download."""

import html
import math

COLOURS = ["#1b6ca8", "#c8553d", "#588157", "#8d6a9f", "#d4a017", "#3d405b", "#e07a5f", "#2a9d8f"]
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2rem auto;padding:0 1rem;color:#1d2330}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid #d8dde6;padding:.35rem .6rem;text-align:left;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}.met{color:#2b7a3f;font-weight:600}
.missed{color:#b3392b;font-weight:600}.none{color:#777}svg{width:100%;height:auto}text{font:12px system-ui,sans-serif}
pre{background:#f5f6f8;padding:.6rem;overflow:auto}@media print{body{margin:0;max-width:none}}
"""


def esc(value):
    return html.escape(str(value))


def table(rows):
    """Claim, target, measured, verdict."""
    out = ["<table><tr><th>id<th>claim<th>target<th>measured<th>verdict</tr>"]
    for row in rows:
        kind = {True: "met", False: "missed"}.get(row["met"], "none")
        verdict = {"met": "met", "missed": "missed", "none": "not measured"}[kind]
        why = f"<br><small>{esc(row['why'])}</small>" if row.get("why") else ""
        out.append(
            f"<tr><td>{esc(row['id'])}<td>{esc(row['claim'])}<td>{esc(row['target'])}"
            f"<td>{esc(row['measured'])}{why}<td class={kind}>{verdict}</tr>"
        )
    return "".join(out) + "</table>"


def curves(title, series):
    """Percentile curves on two logarithmic axes; `series` is name -> [[quantile, nanoseconds]]."""
    series = {name: [(q, ns) for q, ns in points if q < 1 and ns > 0] for name, points in series.items() if points}
    series = {name: points for name, points in series.items() if points}
    if not series:
        return ""
    lowest = min(ns for points in series.values() for _, ns in points)
    highest = max(ns for points in series.values() for _, ns in points)
    nines = max(-math.log10(1 - q) for points in series.values() for q, _ in points)
    span = max(math.log10(highest / lowest), 1e-9)
    x = lambda q: 60 + 720 * (-math.log10(1 - q)) / nines
    y = lambda ns: 330 - 290 * math.log10(ns / lowest) / span
    out = [f"<h2>{esc(title)}</h2><svg viewBox='0 0 960 370' role='img' aria-label='{esc(title)}'>"]
    for n in range(int(nines) + 1):
        label = "p0" if n == 0 else f"p{100 - 10 ** (2 - n):g}"
        out.append(f"<line x1={x(1 - 10 ** -n):.0f} x2={x(1 - 10 ** -n):.0f} y1=30 y2=330 stroke='#e3e6ec'/>"
                   f"<text x={x(1 - 10 ** -n):.0f} y=348 text-anchor='middle'>{label}</text>")
    for power in range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1):
        for step in (1, 2, 5):
            ns = step * 10 ** power
            if lowest <= ns <= highest:
                label = f"{ns / 1000:g} us" if ns >= 1000 else f"{ns} ns"
                out.append(f"<line x1=60 x2=780 y1={y(ns):.0f} y2={y(ns):.0f} stroke='#e3e6ec'/>"
                           f"<text x=54 y={y(ns) + 4:.0f} text-anchor='end'>{label}</text>")
    for at, (name, points) in enumerate(series.items()):
        colour = COLOURS[at % len(COLOURS)]
        line = " ".join(f"{x(q):.1f},{y(ns):.1f}" for q, ns in points)
        out.append(f"<polyline fill='none' stroke='{colour}' stroke-width=2 points='{line}'/>"
                   f"<text x=800 y={50 + at * 20} fill='{colour}'>{esc(name)}</text>")
    return "".join(out) + "</svg>"


def bars(title, values, unit, mark=None):
    """Horizontal bars; `mark` is the target."""
    if not values:
        return ""
    most = max([*values.values(), mark or 0])
    height = 30 + 26 * len(values)
    out = [f"<h2>{esc(title)}</h2><svg viewBox='0 0 960 {height}' role='img' aria-label='{esc(title)}'>"]
    for at, (name, value) in enumerate(values.items()):
        wide = 560 * value / most
        out.append(f"<text x=210 y={24 + at * 26} text-anchor='end'>{esc(name)}</text>"
                   f"<rect x=220 y={10 + at * 26} width={wide:.1f} height=18 fill='{COLOURS[at % len(COLOURS)]}'/>"
                   f"<text x={228 + wide:.0f} y={24 + at * 26}>{value:.3g} {esc(unit)}</text>")
    if mark:
        at = 220 + 560 * mark / most
        out.append(f"<line x1={at:.0f} x2={at:.0f} y1=2 y2={height - 12} stroke='#111' stroke-dasharray='4 3'/>")
    return "".join(out) + "</svg>"


def page(title, about, rows, pictures):
    """The whole page."""
    facts = "".join(f"<tr><td>{esc(name)}<td>{esc(value)}</tr>" for name, value in about.items())
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{esc(title)}</title><style>{STYLE}</style>"
        f"<h1>{esc(title)}</h1>{table(rows)}{''.join(pictures)}<h2>How</h2><table>{facts}</table></html>\n"
    )
