//! Figures over something that grows, drawn.

use plotters::prelude::{
    ChartBuilder, Color as _, IntoDrawingArea as _, LineSeries, PathElement, RGBColor, SVGBackend,
    SeriesLabelPosition, WHITE,
};
use serde::{Deserialize, Serialize};
use std::{error::Error, ops::Range, path::Path};

const SIZE: (u32, u32) = (720, 420);

const COLOURS: [RGBColor; 6] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x7f, 0x7f, 0x7f),
];

/// Curves over one axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chart {
    /// The end of its file's name.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// What grows, with its unit.
    pub x: String,
    /// What is measured, with its unit.
    pub y: String,
    /// The curves.
    pub series: Vec<Series>,
}

/// A curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Of what.
    pub name: String,
    /// By x, ascending.
    pub points: Vec<(f64, f64)>,
}

impl Chart {
    /// A chart; its curves begin at 0 on both axes, so that none looks steeper than it is.
    pub fn new(name: &str, title: &str, x: &str, y: &str, series: Vec<Series>) -> Self {
        let (name, title, x, y) = (name.to_owned(), title.to_owned(), x.to_owned(), y.to_owned());
        Self { name, title, x, y, series }
    }

    /// Draws it as SVG.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn draw(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .caption(&self.title, ("sans-serif", 18))
            .build_cartesian_2d(self.span(|point| point.0), self.span(|point| point.1))?;
        chart.configure_mesh().max_light_lines(0).x_desc(&self.x).y_desc(&self.y).draw()?;
        for (series, colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            let points = series.points.iter().copied();
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))?
                .label(&series.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        }
        let labels = SeriesLabelPosition::UpperLeft;
        chart
            .configure_series_labels()
            .position(labels)
            .border_style(WHITE)
            .background_style(WHITE.mix(0.8))
            .draw()?;
        root.present()?;
        Ok(())
    }

    fn span(&self, value: impl Fn(&(f64, f64)) -> f64) -> Range<f64> {
        let values = self.series.iter().flat_map(|series| &series.points).map(value);
        let highest = values.fold(0.0, f64::max);
        0.0..if highest > 0.0 { highest * 1.2 } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_is_in_the_drawing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chart.svg");
        let series = |name: &str| Series { name: name.to_owned(), points: vec![(1.0, 5.0), (2.0, 7.0)] };
        let chart = Chart::new("c", "Cost", "clients", "us", vec![series("node"), series("redis")]);
        chart.draw(&path).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        for text in ["Cost", "clients", "node", "redis"] {
            assert!(svg.contains(text), "{text}");
        }
        Chart::new("e", "Nothing", "x", "y", Vec::new()).draw(&path).unwrap();
    }
}
