//! A drawing of a run: rates above, latencies below, over time.

use crate::stats::Tick;
use plotters::{
    coord::Shift,
    prelude::{
        ChartBuilder, Color as _, DrawingArea, IntoDrawingArea as _, IntoLogRange as _, LineSeries,
        PathElement, RGBColor, SVGBackend, WHITE,
    },
};
use std::{error::Error, path::Path};

const SIZE: (u32, u32) = (960, 640);
const BLUE: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const ORANGE: RGBColor = RGBColor(0xff, 0x7f, 0x0e);
const RED: RGBColor = RGBColor(0xd6, 0x27, 0x28);

/// A curve: its name, its colour, and its value at each tick.
type Curve<'a> = (&'a str, RGBColor, fn(&Tick) -> f64);

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the part of a timeline in which anything was sent or delivered.
///
/// # Errors
/// The file cannot be written.
pub fn draw(timeline: &[Tick], path: &Path) -> Result<(), Box<dyn Error>> {
    let is_busy = |tick: &Tick| tick.sent + tick.delivered > 0;
    let begin = timeline.iter().position(is_busy).unwrap_or(0);
    let end = timeline.iter().rposition(is_busy).map_or(0, |last| last + 1);
    let busy = timeline.get(begin..end).unwrap_or_default();
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (above, below) = root.split_vertically(SIZE.1 / 2);
    rates(&above, busy)?;
    latencies(&below, busy)?;
    root.present()?;
    Ok(())
}

fn span(busy: &[Tick]) -> std::ops::Range<f64> {
    let end = busy.len().max(2) as f64;
    1.0..end
}

fn rates(panel: &Panel<'_>, busy: &[Tick]) -> Result<(), Box<dyn Error>> {
    let highest = busy.iter().map(|tick| tick.sent.max(tick.delivered)).max().unwrap_or(0).max(1);
    let mut chart = ChartBuilder::on(panel)
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .caption("notifications per second", ("sans-serif", 16))
        .build_cartesian_2d(span(busy), 0.0..highest as f64 * 1.1)?;
    chart.configure_mesh().x_desc("seconds").draw()?;
    let curves: [Curve<'_>; 2] =
        [("sent", ORANGE, |tick| tick.sent as f64), ("delivered", BLUE, |tick| tick.delivered as f64)];
    for (name, colour, value) in curves {
        let points = busy.iter().enumerate().map(|(index, tick)| ((index + 1) as f64, value(tick)));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().border_style(WHITE).draw()?;
    Ok(())
}

fn latencies(panel: &Panel<'_>, busy: &[Tick]) -> Result<(), Box<dyn Error>> {
    let highest = busy.iter().map(|tick| tick.latency.max_us).max().unwrap_or(0).max(1_000);
    let mut chart = ChartBuilder::on(panel)
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .caption("milliseconds from due to delivered", ("sans-serif", 16))
        .build_cartesian_2d(span(busy), (0.1..highest as f64 / 1000.0 * 1.5).log_scale())?;
    chart.configure_mesh().x_desc("seconds").draw()?;
    let curves: [Curve<'_>; 3] = [
        ("p50", BLUE, |tick| tick.latency.p50_us as f64),
        ("p99", ORANGE, |tick| tick.latency.p99_us as f64),
        ("max", RED, |tick| tick.latency.max_us as f64),
    ];
    for (name, colour, value) in curves {
        let points = busy
            .iter()
            .enumerate()
            .filter(|(_, tick)| tick.latency.count > 0)
            .map(|(index, tick)| ((index + 1) as f64, (value(tick) / 1000.0).max(0.1)));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().border_style(WHITE).draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Quantiles;

    fn drawn(timeline: &[Tick]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plot.svg");
        draw(timeline, &path).unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn every_curve_is_in_the_drawing() {
        let latency =
            Quantiles { count: 5, p50_us: 500, p90_us: 700, p99_us: 900, p999_us: 950, max_us: 2_000 };
        let tick = |at_us| Tick { at_us, clients: 5, sent: 5, delivered: 5, latency };
        let svg = drawn(&[tick(1_000_000), tick(2_000_000), tick(3_000_000)]);
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for name in ["sent", "delivered", "p50", "p99", "max"] {
            assert!(svg.contains(name), "{name}");
        }
    }

    #[test]
    fn a_run_that_sent_nothing_can_be_drawn() {
        assert!(drawn(&[]).starts_with("<svg"));
    }
}
