"""A measurement as one self-contained page: a table, percentile curves, bars, stacks, lines over time, in light and in dark.

In: names and numbers. Out: HTML, or one SVG for a README. No script, no download.
"""

import html
import math
import re

COLOURS = ["#1f77b4", "#d1603d", "#4c9a57", "#8d6ab8", "#c79a10", "#5b7083", "#d4588a", "#2a9d8f"]
STYLE = """
:root{color-scheme:light dark;--ink:#1d2330;--paper:#ffffff;--rule:#d8dde6;--soft:#6b7280;--met:#2b7a3f;--missed:#b3392b}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ee;--paper:#14171d;--rule:#343a46;--soft:#9aa3b2;--met:#6cc287;--missed:#f08070}}
body{font:15px/1.5 system-ui,sans-serif;max-width:1040px;margin:2rem auto;padding:0 1rem;color:var(--ink);background:var(--paper)}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid var(--rule);padding:.35rem .6rem;text-align:left;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}.met{color:var(--met);font-weight:600}
.missed{color:var(--missed);font-weight:600}.none{color:var(--soft)}svg{width:100%;height:auto}
small{color:var(--soft)}@media print{body{margin:0;max-width:none}}
"""
# Also for an SVG that stands alone, where the page's variables are not.
DRAWN = """
text{font:12px system-ui,sans-serif;fill:#1d2330}.grid{stroke:#d8dde6}.soft{fill:#6b7280}.paper{fill:#fff}.edge{stroke:#1d2330}
@media(prefers-color-scheme:dark){text{fill:#e6e8ee}.grid{stroke:#343a46}.soft{fill:#9aa3b2}.paper{fill:#14171d}.edge{stroke:#e6e8ee}}
"""


def esc(value):
    return html.escape(str(value))


def time(ns):
    """Nanoseconds as a person says them."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


def drawing(title, high, body, wide=960):
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {wide} {high}' role='img' aria-label='{esc(title)}'>"
    return f"{head}<style>{DRAWN}</style>{''.join(body)}</svg>"


def figure(title, high, body):
    return f"<h2>{esc(title)}</h2>{drawing(title, high, body)}"


def table(rows):
    """Claim, target, measured, verdict."""
    out = ["<table><tr><th>id<th>claim<th>target<th>measured<th>verdict</tr>"]
    for row in rows:
        kind, verdict = {True: ("met", "met"), False: ("missed", "missed")}.get(row["met"], ("none", "not measured"))
        why = f"<br><small>{esc(row['why'])}</small>" if row.get("why") else ""
        out.append(
            f"<tr><td>{esc(row['id'])}<td>{esc(row['claim'])}<td>{esc(row['target'])}"
            f"<td>{esc(row['measured'])}{why}<td class={kind}>{verdict}</tr>"
        )
    return "".join(out) + "</table>"


def figures(title, columns, rows):
    """A table of numbers: `rows` is a list of lists, the first cell a name."""
    head = "".join(f"<th>{esc(column)}" for column in columns)
    body = "".join("<tr>" + "".join(f"<td{'' if at == 0 else ' class=n'}>{esc(cell)}" for at, cell in enumerate(row)) for row in rows)
    return f"<h2>{esc(title)}</h2><table><tr>{head}</tr>{body}</table>"


def steps(lowest, highest):
    """1, 2, 5 of every power of ten between the two."""
    powers = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
    return [step * 10.0 ** power for power in powers for step in (1, 2, 5) if lowest <= step * 10.0 ** power <= highest]


def curves(title, series):
    """Percentile curves on two logarithmic axes; `series` is name -> [[quantile, nanoseconds]]."""
    series = {name: [(q, ns) for q, ns in points if q < 1 and ns > 0] for name, points in series.items() if points}
    series = {name: points for name, points in series.items() if points}
    if not series:
        return ""
    lowest = min(ns for points in series.values() for _, ns in points)
    highest = max(ns for points in series.values() for _, ns in points)
    nines = max(1, max(-math.log10(1 - q) for points in series.values() for q, _ in points))
    span = max(math.log10(highest / lowest), 1e-9)
    x = lambda q: 64 + 700 * (-math.log10(1 - q)) / nines
    y = lambda ns: 330 - 290 * math.log10(ns / lowest) / span
    out = []
    for n in range(int(nines) + 1):
        label, at = "p0" if n == 0 else f"p{100 - 10 ** (2 - n):g}", x(1 - 10 ** -n)
        out.append(f"<line class=grid x1={at:.0f} x2={at:.0f} y1=30 y2=330 /><text x={at:.0f} y=348 text-anchor='middle'>{label}</text>")
    for ns in steps(lowest, highest):
        out.append(f"<line class=grid x1=64 x2=764 y1={y(ns):.0f} y2={y(ns):.0f} />"
                   f"<text x=58 y={y(ns) + 4:.0f} text-anchor='end'>{time(ns)}</text>")
    for at, (name, points) in enumerate(series.items()):
        colour = COLOURS[at % len(COLOURS)]
        line = " ".join(f"{x(q):.1f},{y(ns):.1f}" for q, ns in points)
        out.append(f"<polyline fill='none' stroke='{colour}' stroke-width='2' points='{line}'/>"
                   f"<rect x=778 y={42 + at * 20} width=12 height=4 fill='{colour}'/><text x=796 y={49 + at * 20}>{esc(name)}</text>")
    return figure(title, 370, quoted(out))


def bars(title, values, unit, mark=None):
    """Horizontal bars; `mark` is the target."""
    if not values:
        return ""
    most = max([*values.values(), mark or 0, 1e-12])
    high, out = 30 + 26 * len(values), []
    for at, (name, value) in enumerate(values.items()):
        wide = 520 * value / most
        out.append(f"<text x=250 y={24 + at * 26} text-anchor='end'>{esc(name)}</text>"
                   f"<rect x=260 y={10 + at * 26} width={wide:.1f} height=18 fill='{COLOURS[at % len(COLOURS)]}'/>"
                   f"<text x={268 + wide:.0f} y={24 + at * 26}>{value:.3g} {esc(unit)}</text>")
    if mark:
        at = 260 + 520 * mark / most
        out.append(f"<line class=edge x1={at:.0f} x2={at:.0f} y1=2 y2={high - 12} stroke-dasharray='4 3'/>")
    return figure(title, high, quoted(out))


def stack(title, parts):
    """Where a whole goes: `parts` is name -> nanoseconds, one after the other, largest share readable."""
    whole = sum(parts.values())
    if whole <= 0:
        return ""
    out, at = [], 20.0
    for n, (name, ns) in enumerate(parts.items()):
        wide, colour = 920 * ns / whole, COLOURS[n % len(COLOURS)]
        out.append(f"<rect x={at:.1f} y=10 width={wide:.1f} height=40 fill='{colour}'><title>{esc(name)}: {time(ns)}</title></rect>")
        column, line = n % 2, n // 2
        out.append(f"<rect x={20 + column * 470} y={66 + line * 20} width=12 height=12 fill='{colour}'/>"
                   f"<text x={38 + column * 470} y={76 + line * 20}>{esc(name)}: {time(ns)}, {ns / whole:.1%}</text>")
        at += wide
    return figure(f"{title}: {time(whole)}", 80 + 20 * math.ceil(len(parts) / 2), quoted(out))


def lines(title, series, unit, marks=()):
    """Lines over time: `series` is name -> [[seconds, value]]; `marks` are (seconds, text)."""
    series = {name: points for name, points in series.items() if points}
    if not series:
        return ""
    last = max(max(at for at, _ in points) for points in series.values()) or 1
    most = max(max(value for _, value in points) for points in series.values()) or 1
    x = lambda at: 64 + 700 * at / last
    y = lambda value: 230 - 200 * value / most
    out = []
    for n in range(5):
        value, at = most * n / 4, last * n / 4
        out.append(f"<line class=grid x1=64 x2=764 y1={y(value):.0f} y2={y(value):.0f} /><text x=58 y={y(value) + 4:.0f} text-anchor='end'>{value:.3g}</text>"
                   f"<text x={x(at):.0f} y=248 text-anchor='middle'>{at:.0f} s</text>")
    for at, text in marks:
        out.append(f"<line class=grid x1={x(at):.1f} x2={x(at):.1f} y1=30 y2=230 stroke-dasharray='2 3'><title>{esc(text)}</title></line>")
    for n, (name, points) in enumerate(series.items()):
        colour = COLOURS[n % len(COLOURS)]
        line = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points)
        out.append(f"<polyline fill='none' stroke='{colour}' stroke-width='2' points='{line}'/>"
                   f"<rect x=778 y={42 + n * 20} width=12 height=4 fill='{colour}'/><text x=796 y={49 + n * 20}>{esc(name)}</text>")
    return figure(f"{title}, {unit}", 260, quoted(out))


def picture(title, groups, caption):
    """One SVG: each row a bar from p50 to p99.9 on a logarithmic axis, ticks at p50, p90, p99, p99.9.

    `groups` is a list of (heading, [(name, {"p50": ns, ...}, colour index)]).
    """
    rows = [row for _, all_of in groups for row in all_of]
    lowest = 10 ** math.floor(math.log10(min(ns["p50"] for _, ns, _ in rows)))
    highest = 10 ** math.ceil(math.log10(max(ns["p99.9"] for _, ns, _ in rows)))
    x = lambda ns: 250 + 560 * math.log10(ns / lowest) / math.log10(highest / lowest)
    high = 96 + sum(26 + 26 * len(all_of) for _, all_of in groups) + 20 * len(caption)
    foot = high - 34 - 20 * len(caption)
    out = [f"<rect class='paper' width='960' height='{high}'/><text x=20 y=28 style='font-size:16px;font-weight:600'>{esc(title)}</text>"]
    for power in range(round(math.log10(lowest)), round(math.log10(highest)) + 1):
        at = x(10.0 ** power)
        out.append(f"<line class=grid x1={at:.0f} x2={at:.0f} y1=44 y2={foot} /><text x={at:.0f} y={foot + 18} text-anchor='middle'>{time(10.0 ** power)}</text>")
    y = 44
    for heading, all_of in groups:
        y += 26
        out.append(f"<text class=soft x=20 y={y - 6}>{esc(heading)}</text>")
        for name, ns, colour in all_of:
            colour = COLOURS[colour]
            out.append(f"<text x=240 y={y + 14} text-anchor='end'>{esc(name)}</text>"
                       f"<rect x={x(ns['p50']):.1f} y={y + 5} width={x(ns['p99.9']) - x(ns['p50']):.1f} height=10 fill='{colour}' opacity='0.35'/>"
                       f"<rect x={x(ns['p50']):.1f} y={y + 2} width={max(2, x(ns['p99']) - x(ns['p50'])):.1f} height=16 fill='{colour}'/>"
                       f"<text x={x(ns['p99.9']) + 8:.0f} y={y + 14}>{time(ns['p50'])}, p99 {time(ns['p99'])}</text>")
            y += 26
    for n, line in enumerate(caption):
        out.append(f"<text class=soft x=20 y={foot + 44 + 20 * n}>{esc(line)}</text>")
    return drawing(title, high, quoted(out)) + "\n"


def quoted(parts):
    """Attributes with quotes around them, so that the drawing stands alone as XML."""
    return [re.sub(r"( (?:x|y|x1|x2|y1|y2|width|height|class)=)([^'\" />]+)", r"\1'\2'", part) for part in parts]


def page(title, about, rows, pictures):
    """The whole page."""
    facts = "".join(f"<tr><td>{esc(name)}<td>{esc(value)}</tr>" for name, value in about.items())
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{esc(title)}</title><style>{STYLE}</style>"
        f"<h1>{esc(title)}</h1>{table(rows)}{''.join(pictures)}<h2>How</h2><table>{facts}</table></html>\n"
    )
