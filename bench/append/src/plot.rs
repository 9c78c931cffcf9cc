//! Histograms as one small SVG: how many operations (down, one in ten a step) took longer than so long (right).

use hdrhistogram::Histogram;
use std::fmt::Write;

const COLORS: [&str; 8] = ["#999999", "#555555", "#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#009e73", "#cc79a7"];
const LEFT: f64 = 70.0;
const TOP: f64 = 30.0;
const WIDE: f64 = 620.0;
const HIGH: f64 = 340.0;
/// Powers of ten: nanoseconds to the right, one in so many down.
const NANOS: (i32, i32) = (1, 9);
const ONE_IN: i32 = 6;

fn x(nanos: f64) -> f64 {
    let (from, to) = (f64::from(NANOS.0), f64::from(NANOS.1));
    LEFT + WIDE * (nanos.max(10.0).log10() - from) / (to - from)
}

fn y(share: f64) -> f64 {
    TOP + HIGH * (-share.log10() / f64::from(ONE_IN)).clamp(0.0, 1.0)
}

pub fn svg(all: &[(String, Histogram<u64>)]) -> String {
    let mut out = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 430\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"960\" height=\"430\" fill=\"white\"/>\n\
         <text x=\"70\" y=\"18\">Appends that took longer, while the disk is flooded</text>\n",
    );
    for power in NANOS.0..=NANOS.1 {
        let at = x(10f64.powi(power));
        let name = ["", "10 ns", "100 ns", "1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"][power as usize];
        let _ = write!(
            out,
            "<path d=\"M{at:.0} {TOP}v{HIGH}\" stroke=\"#ddd\"/><text x=\"{:.0}\" y=\"390\">{name}</text>\n",
            at - 16.0
        );
    }
    for power in 0..=ONE_IN {
        let at = y(10f64.powi(-power));
        let name = ["all", "1 in 10", "in 100", "in 1 k", "in 10 k", "in 100 k", "in 1 M"][power as usize];
        let _ = write!(
            out,
            "<path d=\"M{LEFT} {at:.0}h{WIDE}\" stroke=\"#ddd\"/><text x=\"8\" y=\"{:.0}\">{name}</text>\n",
            at + 4.0
        );
    }
    for (n, (name, histogram)) in all.iter().enumerate() {
        let color = COLORS[n % COLORS.len()];
        let (mut path, mut left) = (String::new(), histogram.len());
        for bucket in histogram.iter_recorded() {
            let share = left as f64 / histogram.len() as f64;
            let step = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{step}{:.1} {:.1}", x(bucket.value_iterated_to() as f64), y(share));
            left -= bucket.count_since_last_iteration();
        }
        let line = 60.0 + 20.0 * n as f64;
        let _ = write!(
            out,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"/>\
             <path d=\"M705 {line}h18\" stroke=\"{color}\" stroke-width=\"3\"/><text x=\"730\" y=\"{:.0}\">{name}</text>\n",
            line + 4.0
        );
    }
    out + "</svg>\n"
}
