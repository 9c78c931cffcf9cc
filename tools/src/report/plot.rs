//! Plots as SVG: drawn by the page's own colours, so that they follow light, dark and paper.
//!
//! In: points of two numbers with their units. Out: axes with ticks at round numbers, lines, areas, bars. Never: more than
//! [`POINTS`] points a line, a number that is none.

use super::html::escaped;
use std::fmt::Write;

/// Points kept of a line, however long it is.
pub(super) const POINTS: usize = 800;
const WIDE: f64 = 1100.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const FOOT: f64 = 44.0;

/// A line of which a bounded part is kept: every second point goes whenever it is full. The highest and lowest stay.
#[derive(Clone, Debug)]
pub(super) struct Series {
    stride: u64,
    seen: u64,
    points: Vec<(f64, f64)>,
    low: Option<(f64, f64)>,
    high: Option<(f64, f64)>,
}

impl Default for Series {
    fn default() -> Self {
        Self { stride: 1, seen: 0, points: Vec::new(), low: None, high: None }
    }
}

impl Series {
    /// The next point; what is no number is left out.
    pub(super) fn push(&mut self, x: f64, y: f64) {
        if !(x.is_finite() && y.is_finite()) {
            return;
        }
        self.low = self.low.filter(|(_, least)| *least <= y).or(Some((x, y)));
        self.high = self.high.filter(|(_, most)| *most >= y).or(Some((x, y)));
        if self.seen.is_multiple_of(self.stride) {
            self.points.push((x, y));
        }
        self.seen += 1;
        if self.points.len() >= POINTS {
            let mut at = 0;
            self.points.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.stride *= 2;
        }
    }

    /// What was kept, in order.
    pub(super) fn points(&self) -> Vec<(f64, f64)> {
        let mut all = self.points.clone();
        all.extend(self.low.into_iter().chain(self.high));
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all.dedup();
        all
    }
}

/// Values kept of a distribution: beyond this every second one goes.
const SAMPLE: usize = 65_536;

/// Values of which a bounded part is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    halvings: u32,
    seen: u64,
    values: Vec<f64>,
}

impl Sample {
    /// The next value.
    pub(super) fn push(&mut self, value: f64) {
        if self.seen.is_multiple_of(1 << self.halvings) {
            self.values.push(value);
        }
        self.seen += 1;
        if self.values.len() >= SAMPLE {
            let mut at = 0;
            self.values.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.halvings += 1;
        }
    }

    /// Those kept; none when all of them are zero, for a clock that stood still measured nothing.
    pub(super) fn values(&self) -> &[f64] {
        if self.values.iter().all(|value| *value == 0.0) { &[] } else { &self.values }
    }
}

/// How an axis writes its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ticks {
    /// Plain numbers.
    Number,
    /// Seconds since 1970 as a time of day, or a day where the axis is longer than two days.
    Clock,
}

/// One thing drawn.
#[derive(Clone, Debug)]
pub(super) enum Mark {
    /// A line of a class.
    Line(&'static str, Vec<(f64, f64)>),
    /// The area between a line and zero.
    Area(&'static str, Vec<(f64, f64)>),
    /// Bars from zero: left, right, height, and whether it is one to look at.
    Bars(Vec<(f64, f64, f64, bool)>),
}

/// A plot.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub x: &'static str,
    pub y: &'static str,
    pub ticks: Ticks,
    pub height: f64,
    pub marks: Vec<Mark>,
    /// Zero belongs to the picture.
    pub zero: bool,
    /// Names of what is drawn, with the class of their colour.
    pub legend: Vec<(&'static str, &'static str)>,
}

impl Plot {
    fn bounds(&self) -> Option<([f64; 2], [f64; 2])> {
        let (mut x, mut y) = ([f64::INFINITY, f64::NEG_INFINITY], [f64::INFINITY, f64::NEG_INFINITY]);
        let mut take = |px: f64, py: f64| {
            x = [x[0].min(px), x[1].max(px)];
            y = [y[0].min(py), y[1].max(py)];
        };
        for mark in &self.marks {
            match mark {
                Mark::Line(_, points) => points.iter().for_each(|(px, py)| take(*px, *py)),
                Mark::Area(_, points) => points.iter().for_each(|(px, py)| {
                    take(*px, *py);
                    take(*px, 0.0);
                }),
                Mark::Bars(bars) => bars.iter().for_each(|(from, to, height, _)| {
                    take(*from, *height);
                    take(*to, 0.0);
                }),
            }
        }
        if !(x[0] <= x[1] && y[0] <= y[1]) {
            return None;
        }
        if self.zero {
            y = [y[0].min(0.0), y[1].max(0.0)];
        }
        Some((widened(x), widened(y)))
    }

    /// The picture; `None` when there is nothing to draw.
    pub(super) fn svg(&self) -> Option<String> {
        let ([x0, x1], [y0, y1]) = self.bounds()?;
        let steps = if self.ticks == Ticks::Clock { clock_ticks(x0, x1) } else { ticks(x0, x1, 10) };
        let rows = ticks(y0, y1, 5);
        // the axis ends at round numbers, so that the first and last line of the grid frame the picture
        let step = rows.get(1).zip(rows.first()).map_or(1.0, |(b, a)| b - a);
        let (y0, y1) = ((y0 / step + 1e-9).floor() * step, (y1 / step - 1e-9).ceil() * step);
        let rows = ticks_by(y0, y1, step);
        let (bottom, right) = (self.height - FOOT, WIDE - RIGHT);
        let px = |x: f64| LEFT + (x - x0) / (x1 - x0) * (right - LEFT);
        let py = |y: f64| bottom - (y - y0) / (y1 - y0) * (bottom - TOP);
        let mut out =
            format!("<svg viewBox=\"0 0 {WIDE} {}\" role=img aria-label=\"{}\">", self.height, escaped(self.y));
        for y in &rows {
            let _ = write!(
                out,
                "<line class=grid x1={LEFT:.1} x2={right:.1} y1={0:.1} y2={0:.1} /><text x={1:.1} y={2:.1} text-anchor=end>{3}</text>",
                py(*y),
                LEFT - 8.0,
                py(*y) + 4.0,
                number(*y, step)
            );
        }
        let span = x1 - x0;
        let xstep = steps.get(1).zip(steps.first()).map_or(1.0, |(b, a)| b - a);
        for x in &steps {
            let text = if self.ticks == Ticks::Clock { clock(*x, span, xstep) } else { number(*x, xstep) };
            let _ = write!(
                out,
                "<line class=axis x1={0:.1} x2={0:.1} y1={1:.1} y2={2:.1} /><text x={0:.1} y={3:.1} text-anchor=middle>{4}</text>",
                px(*x),
                bottom,
                bottom + 4.0,
                bottom + 17.0,
                text
            );
        }
        for mark in &self.marks {
            draw(&mut out, mark, &px, &py);
        }
        if y0 < 0.0 && y1 > 0.0 {
            let _ = write!(out, "<line class=zero x1={LEFT:.1} x2={right:.1} y1={0:.1} y2={0:.1} />", py(0.0));
        }
        let middle = (TOP + bottom) / 2.0;
        let _ = write!(
            out,
            "<line class=axis x1={LEFT:.1} x2={right:.1} y1={bottom:.1} y2={bottom:.1} />\
             <text x={:.1} y={:.1} text-anchor=middle>{}</text>\
             <text x=16 y={middle:.1} text-anchor=middle transform=\"rotate(-90 16 {middle:.1})\">{}</text>",
            (LEFT + right) / 2.0,
            self.height - 8.0,
            escaped(self.x),
            escaped(self.y)
        );
        let mut at = LEFT + 12.0;
        for (name, class) in &self.legend {
            let _ = write!(
                out,
                "<line class={class} x1={at:.1} x2={0:.1} y1={1:.1} y2={1:.1} style=\"stroke-width:3\" /><text x={2:.1} y={3:.1}>{4}</text>",
                at + 18.0,
                TOP + 6.0,
                at + 24.0,
                TOP + 10.0,
                escaped(name)
            );
            at += 40.0 + 6.6 * name.len() as f64;
        }
        out.push_str("</svg>");
        Some(out)
    }
}

fn draw(out: &mut String, mark: &Mark, px: &dyn Fn(f64) -> f64, py: &dyn Fn(f64) -> f64) {
    let path = |points: &[(f64, f64)]| {
        let mut text = String::new();
        for (at, (x, y)) in points.iter().enumerate() {
            let _ = write!(text, "{}{:.1} {:.1}", if at == 0 { "M" } else { "L" }, px(*x), py(*y));
        }
        text
    };
    match mark {
        Mark::Line(class, points) => {
            let _ = write!(out, "<path class={class} d=\"{}\" />", path(points));
        }
        Mark::Area(class, points) => {
            if let (Some(first), Some(last)) = (points.first(), points.last()) {
                let (x0, x1, zero) = (px(first.0), px(last.0), py(0.0));
                let _ =
                    write!(out, "<path class={class} d=\"{}L{x1:.1} {zero:.1}L{x0:.1} {zero:.1}Z\" />", path(points));
            }
        }
        Mark::Bars(bars) => {
            for (from, to, height, hit) in bars {
                let (x0, x1) = (px(*from), px(*to));
                let (y0, y1) = (py(*height).min(py(0.0)), py(*height).max(py(0.0)));
                let class = if *hit { "\"bar hit\"" } else { "bar" };
                let _ = write!(
                    out,
                    "<rect class={class} x={:.1} y={y0:.1} width={:.1} height={:.1} />",
                    x0 + 0.5,
                    (x1 - x0 - 1.0).max(0.6),
                    (y1 - y0).max(0.0)
                );
            }
        }
    }
}

/// Nothing has no width: a flat line is drawn in the middle.
fn widened([low, high]: [f64; 2]) -> [f64; 2] {
    if high > low {
        return [low, high];
    }
    let pad = if low == 0.0 { 1.0 } else { low.abs() * 0.01 };
    [low - pad, high + pad]
}

/// Round numbers from `low` to `high`, about `wanted` of them.
pub(super) fn ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    let rough = (high - low) / wanted.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * power).find(|step| *step >= rough).unwrap_or(power);
    ticks_by(low, high, step)
}

/// Most ticks an axis has, whatever is asked for.
const MOST: usize = 40;

fn ticks_by(low: f64, high: f64, step: f64) -> Vec<f64> {
    let first = (low / step - 1e-9).ceil();
    (0..MOST).map(|at| (first + at as f64) * step).take_while(|x| *x <= high + step * 1e-6).map(|x| x + 0.0).collect()
}

/// Seconds of the clock people count in.
const CLOCK: [f64; 18] = [
    1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 10_800.0, 21_600.0,
    43_200.0, 86_400.0,
];

fn clock_ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 10.0;
    let days = (rough / 86_400.0).ceil().max(1.0) * 86_400.0;
    ticks_by(low, high, CLOCK.into_iter().find(|step| *step >= rough).unwrap_or(days))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time on an axis is positive and small")]
fn clock(seconds: f64, span: f64, step: f64) -> String {
    let text = crate::moment::utc(keel_core::units::Wall::from_nanos(
        (seconds.max(0.0).round() as u64).saturating_mul(1_000_000_000),
    ));
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or("").to_owned();
    match () {
        () if span > 172_800.0 && step >= 86_400.0 => part(5, 10),
        () if span > 172_800.0 => part(5, 16).replace('T', " "),
        () if step < 60.0 => part(11, 19),
        () => part(11, 16),
    }
}

/// A number with the decimals its step asks for.
fn number(value: f64, step: f64) -> String {
    let places = if step > 0.0 && step < 1.0 { (-step.log10()).ceil().clamp(0.0, 8.0) } else { 0.0 };
    let halves = if (step * 10f64.powf(places)).fract().abs() > 1e-6 && step < 10.0 { 1.0 } else { 0.0 };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 9")]
    let text = format!("{value:.*}", (places + halves) as usize);
    super::html::grouped(&text).replace("<i></i>", "\u{2009}").replace("&minus;", "\u{2212}")
}

/// Counts of values in bars of a round width around zero: left, right, count. What lies beyond the 0.5 % tails is in
/// the outermost bars.
pub(super) fn histogram(values: &[f64], bars: usize) -> Vec<(f64, f64, f64, bool)> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let tail = sorted.len() / 200;
    let (Some(first), Some(last)) = (sorted.get(tail), sorted.iter().rev().nth(tail)) else { return Vec::new() };
    let [low, high] = widened([*first, *last]);
    let edges = ticks(low, high, bars);
    let step = edges.get(1).zip(edges.first()).map_or(1.0, |(b, a)| b - a);
    let from = (low / step).floor() * step;
    let count = (((high - from) / step).floor() + 1.0).clamp(1.0, 200.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 200")]
    let mut counts = vec![0u32; count as usize];
    for value in &sorted {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the bars there are")]
        let at = ((value - from) / step).floor().clamp(0.0, count - 1.0) as usize;
        counts[at] += 1;
    }
    let bar = |(at, count): (usize, &u32)| {
        let left = from + at as f64 * step;
        (left, left + step, f64::from(*count), left + step <= 0.0)
    };
    counts.iter().enumerate().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_frame_the_picture() {
        assert_eq!(ticks(0.0, 10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(-0.3, 0.3, 5).len(), 3);
        assert_eq!(
            (number(1234567.0, 1.0).as_str(), number(-0.25, 0.05).as_str(), number(2.5, 2.5).as_str()),
            ("1\u{2009}234\u{2009}567", "\u{2212}0.25", "2.5")
        );
        assert_eq!(clock(1_767_225_600.0, 600.0, 60.0), "00:00");
    }

    #[test]
    fn a_line_stays_small_and_keeps_its_extremes() {
        let mut series = Series::default();
        for at in 0..1_000_000u32 {
            let spike = if at == 777_777 { 50.0 } else { 0.0 };
            series.push(f64::from(at), f64::from(at % 7) + spike);
        }
        series.push(f64::NAN, 1.0);
        let points = series.points();
        assert!(points.len() <= POINTS + 2 && points.iter().any(|(x, _)| (*x - 777_777.0).abs() < 0.5));
    }

    #[test]
    fn nothing_draws_nothing_and_one_point_draws_something() {
        let plot = |points| Plot {
            x: "time",
            y: "USDT",
            ticks: Ticks::Clock,
            height: 200.0,
            zero: true,
            legend: vec![],
            marks: vec![Mark::Line("line", points)],
        };
        assert_eq!(plot(vec![]).svg(), None);
        assert!(plot(vec![(1_767_225_600.0, 5.0)]).svg().is_some_and(|svg| svg.contains("</svg>")));
        assert_eq!(histogram(&[], 10), []);
        let counted = histogram(&[1.0, 1.0, 2.0], 10).iter().map(|bar| bar.2).sum::<f64>();
        assert!((counted - 3.0).abs() < 1e-9, "{counted}");
    }
}
