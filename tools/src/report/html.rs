//! A report as one page: everything inside it, nothing to fetch, nothing to run.
//!
//! In: a finished sheet. Out: HTML with its CSS and plots. Never: a script, an address of another file but the CSV beside
//! it, text of a journal that was not escaped.

use super::cell::{Cell, Column, Table};
use super::sheet::{Check, Figure, Heading, Sheet};
use std::fmt::Write;

/// Text that stands in a page as itself.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

const STYLE: &str = include_str!("page.css");

/// A table as it is shown: its first rows, and how many there are.
pub(super) type Shown<'a> = (Table, &'a [Vec<Cell>], u64);

/// The whole page.
pub(super) fn page(sheet: &Sheet, heading: &Heading, reasons: &[String], tables: &[Shown<'_>], csv: bool) -> String {
    let spec = &sheet.spec;
    let mut out = head(&format!("{} {}", spec.code.to_uppercase(), spec.title));
    let _ = write!(
        out,
        "<header><p class=over>keel &middot; report {} &middot; schema {}</p><h1>{}</h1><p class=about>{}</p>\
         <p class=span>{} <span class=dim>to</span> {} <span class=dim>UTC</span></p>{}</header>\n<main>\n",
        spec.code.to_uppercase(),
        spec.schema,
        escaped(spec.title),
        escaped(spec.about),
        moment(&heading.from),
        moment(&heading.to),
        badge(reasons.is_empty())
    );
    if spec.restricted {
        out.push_str("<p class=secret>Restricted. Not to be shown to anyone it is about.</p>\n");
    }
    if !reasons.is_empty() {
        out.push_str("<section class=incomplete><h2>INCOMPLETE</h2><ul>");
        reasons.iter().for_each(|why| {
            let _ = write!(out, "<li>{}</li>", escaped(why));
        });
        out.push_str("</ul></section>\n");
    }
    figures(&mut out, &sheet.figures);
    for (title, svg) in &sheet.plots {
        let _ = writeln!(out, "<figure><figcaption>{}</figcaption>{svg}</figure>", escaped(title));
    }
    checks(&mut out, &sheet.checks);
    for shown in tables {
        table(&mut out, spec.code, shown, csv);
    }
    if !sheet.notes.is_empty() {
        out.push_str("<section><h2>Notes</h2><ul class=notes>");
        sheet.notes.iter().for_each(|note| {
            let _ = write!(out, "<li>{}</li>", escaped(note));
        });
        out.push_str("</ul></section>\n");
    }
    journals(&mut out, heading);
    let _ = writeln!(
        out,
        "</main><footer>keel {} &middot; made from the journal alone: the same journal gives the same bytes; SHA-256 of \
         this page stands in manifest.json</footer></body></html>",
        escaped(heading.build)
    );
    out
}

/// Doctype to body.
pub(super) fn head(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width, \
         initial-scale=1\"><meta name=color-scheme content=\"light dark\"><title>{}</title><style>\n{STYLE}</style></head>\
         <body>\n",
        escaped(title)
    )
}

/// Complete or not, at a glance.
pub(super) fn badge(complete: bool) -> &'static str {
    if complete { "<p class=\"badge good\">complete</p>" } else { "<p class=\"badge bad\">INCOMPLETE</p>" }
}

fn figures(out: &mut String, figures: &[Figure]) {
    if figures.is_empty() {
        return;
    }
    out.push_str("<section class=figures>");
    for Figure { label, value, unit } in figures {
        let shown = match value {
            Cell::Null => "<span class=dim>not known</span>".to_owned(),
            Cell::Time(_) => escaped(value.text().split_once('.').map_or("", |(whole, _)| whole)),
            Cell::Int(_) | Cell::Decimal(_) => grouped(&value.text()),
            _ => escaped(&value.text()),
        };
        let unit = if *value == Cell::Null { "" } else { unit };
        let _ = write!(
            out,
            "<div><p class=label>{}</p><p class=value>{shown} <span class=unit>{}</span></p></div>",
            escaped(label),
            escaped(unit)
        );
    }
    out.push_str("</section>\n");
}

fn checks(out: &mut String, checks: &[Check]) {
    if checks.is_empty() {
        return;
    }
    out.push_str(
        "<section><h2>Totals reconciled</h2><div class=scroll><table><thead><tr><th>what</th><th class=n>one way</th>\
         <th class=n>the other</th><th class=n>difference</th><th>unit</th><th>holds</th></tr></thead><tbody>",
    );
    for check in checks {
        let number = |raw: i128| grouped(&super::cell::decimal(raw));
        let verdict = if check.holds() { "<td class=good>yes</td>" } else { "<td class=bad>NO</td>" };
        let _ = write!(
            out,
            "<tr><td class=wide>{}</td><td class=n>{}</td><td class=n>{}</td><td class=n>{}</td><td>{}</td>{verdict}</tr>",
            escaped(&check.what),
            number(check.left),
            number(check.right),
            number(check.difference()),
            escaped(check.unit)
        );
    }
    out.push_str("</tbody></table></div></section>\n");
}

fn table(out: &mut String, code: &str, (table, rows, all): &Shown<'_>, csv: bool) {
    let file = format!("{code}-{}.csv", table.name);
    let _ = write!(out, "<section><h2>{}</h2><p class=count>", escaped(table.title));
    let total = grouped(&all.to_string());
    if rows.len() as u64 == *all {
        let _ = write!(out, "{total} {}", if *all == 1 { "row" } else { "rows" });
    } else {
        let _ = write!(out, "the first {} of {total} rows", rows.len());
    }
    if csv {
        let _ = write!(out, " &middot; all of it: <a href=\"{file}\">{file}</a>");
    }
    out.push_str("</p>");
    if rows.is_empty() {
        out.push_str("<p class=none>Nothing happened that belongs here.</p>");
    } else if rows.len() <= FEW && table.columns.len() > MANY {
        upright(out, table, rows);
    } else {
        across(out, table, rows);
    }
    columns(out, table.columns);
    out.push_str("</section>\n");
}

/// Few rows of many columns are shown a column a line: nothing is beyond the edge of the page.
const FEW: usize = 3;
const MANY: usize = 10;

fn upright(out: &mut String, table: &Table, rows: &[Vec<Cell>]) {
    out.push_str("<div class=scroll><table class=upright><tbody>\n");
    for (at, column) in table.columns.iter().enumerate() {
        let _ = write!(out, "<tr><th title=\"{}\">{}</th>", escaped(column.meaning), escaped(&spaced(column.name)));
        rows.iter().filter_map(|row| row.get(at)).for_each(|cell| out.push_str(&shown(column, cell)));
        let unit = if column.unit == "#" { "" } else { column.unit };
        let _ = writeln!(out, "<td class=dim>{}</td></tr>", escaped(unit));
    }
    out.push_str("</tbody></table></div>");
}

fn across(out: &mut String, table: &Table, rows: &[Vec<Cell>]) {
    out.push_str("<div class=scroll><table><thead><tr>");
    for column in table.columns {
        let class = if column.sort.is_figure() { " class=n" } else { "" };
        let unit = if matches!(column.unit, "" | "#") {
            String::new()
        } else {
            format!("<small>{}</small>", escaped(column.unit))
        };
        let (meaning, name) = (escaped(column.meaning), escaped(&spaced(column.name)));
        let _ = write!(out, "<th{class} title=\"{meaning}\">{name}{unit}</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        table.columns.iter().zip(row).for_each(|(column, cell)| out.push_str(&shown(column, cell)));
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>");
}

/// A moment without decimals that say nothing.
pub(super) fn moment(text: &str) -> String {
    let text = text.trim_end_matches('Z').replace('T', " ");
    escaped(text.strip_suffix(".000000000").unwrap_or(&text))
}

fn spaced(name: &str) -> String {
    name.replace('_', " ")
}

/// Long ids are shown cut, whole on pointing; the files hold them whole.
const LONG: usize = 44;

fn shown(column: &Column, cell: &Cell) -> String {
    let text = cell.text();
    match cell {
        Cell::Null if column.sort.is_figure() => "<td class=\"n null\">&ndash;</td>".to_owned(),
        Cell::Null => "<td class=null>&ndash;</td>".to_owned(),
        Cell::Int(_) | Cell::Decimal(_) if column.sort.is_figure() => {
            let sign = if text.starts_with('-') { " neg" } else { "" };
            format!("<td class=\"n{sign}\">{}</td>", if column.unit == "#" { escaped(&text) } else { grouped(&text) })
        }
        Cell::Time(_) => format!("<td class=t>{}</td>", escaped(text.trim_end_matches('Z')).replace('T', " ")),
        _ if text.chars().count() > LONG && !text.contains(' ') => {
            let cut: String = text.chars().take(12).collect();
            format!("<td class=id title=\"{}\">{}&hellip;</td>", escaped(&text), escaped(&cut))
        }
        _ if text.chars().count() > LONG => format!("<td class=wide>{}</td>", escaped(&text)),
        _ => format!("<td>{}</td>", escaped(&text)),
    }
}

fn columns(out: &mut String, columns: &[Column]) {
    out.push_str("<details><summary>what the columns mean</summary><dl>");
    for column in columns {
        let unit = if column.unit.is_empty() { String::new() } else { format!(", {}", column.unit) };
        let _ = write!(
            out,
            "<dt>{} <small>{}{}</small></dt><dd>{}</dd>",
            escaped(column.name),
            column.sort.name(),
            escaped(&unit),
            escaped(column.meaning)
        );
    }
    out.push_str("</dl></details>");
}

fn journals(out: &mut String, heading: &Heading) {
    out.push_str("<section><h2>Made from</h2>");
    for journal in &heading.journals {
        out.push_str("<dl class=journal>");
        for (name, value) in journal.as_object().into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escaped(&spaced(name)), escaped(&text));
        }
        out.push_str("</dl>");
    }
    out.push_str("</section>\n");
}

/// A number with thin spaces between thousands; what is copied out of the page has none.
pub(super) fn grouped(text: &str) -> String {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("&minus;", rest));
    let (whole, part) = rest.split_once('.').map_or((rest, None), |(whole, part)| (whole, Some(part)));
    let mut out = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        let left = whole.len() - at;
        if at > 0 && left % 3 == 0 && whole.len() > 4 {
            out.push_str("<i></i>");
        }
        out.push(digit);
    }
    if let Some(part) = part {
        let _ = write!(out, ".{part}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_journal_becomes_markup() {
        assert_eq!(escaped("<b a='1'>&\"\u{7}"), "&lt;b a=&#39;1&#39;&gt;&amp;&quot;\u{fffd}");
        let column = super::super::cell::col("x", super::super::cell::Sort::Text, "", "");
        assert_eq!(shown(&column, &Cell::Text("<script>".into())), "<td>&lt;script&gt;</td>");
    }

    #[test]
    fn thousands_are_told_apart() {
        let rows =
            [("1", "1"), ("1234", "1234"), ("-12345.5", "&minus;12<i></i>345.5"), ("1000000", "1<i></i>000<i></i>000")];
        for (text, shown) in rows {
            assert_eq!(grouped(text), shown);
        }
    }
}
