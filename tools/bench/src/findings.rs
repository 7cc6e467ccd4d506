//! What an experiment has found out: for programs as JSON, for people as a table.

use crate::{chart::Chart, machine::Machine};
use beckon_loadgen::report::{AllBuckets, Report};
use beckon_ops::exit::Failure;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// Everything about an experiment. The names in the JSON are those of the fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// Which one.
    pub experiment: String,
    /// Where, when, and of what.
    pub machine: Machine,
    /// What was compared: the heads of the columns.
    pub columns: Vec<String>,
    /// The figures.
    pub rows: Vec<Row>,
    /// What can be drawn.
    pub charts: Vec<Chart>,
    /// The reports of the load generators that all of it comes from.
    pub runs: Vec<Run>,
}

/// A figure, for each column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// In what it is measured.
    pub unit: String,
    /// What it has to stay under; over, if it is a rate.
    pub budget: Option<f64>,
    /// The figure by column; `None` if that column has none.
    pub values: Vec<Option<f64>>,
}

/// A report and what it is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Which part of the experiment.
    pub name: String,
    /// What the load generator said.
    pub report: Report,
}

impl Run {
    /// Keeps a report, without what would make findings large and no chart needs.
    pub fn new(name: impl Into<String>, mut report: Report) -> Self {
        report.buckets = AllBuckets::default();
        for usage in report.samples.iter_mut().flat_map(|sample| sample.processes.values_mut()) {
            usage.threads_us = BTreeMap::new();
        }
        Self { name: name.into(), report }
    }
}

impl Findings {
    /// An empty one.
    pub fn new(experiment: &str) -> Self {
        Self {
            experiment: experiment.to_owned(),
            machine: Machine::here(),
            columns: Vec::new(),
            rows: Vec::new(),
            charts: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Writes a figure down, in a column that is there from now on.
    pub fn put(&mut self, column: &str, name: &str, unit: &str, budget: Option<f64>, value: Option<f64>) {
        let position = self.columns.iter().position(|known| known == column).unwrap_or_else(|| {
            self.columns.push(column.to_owned());
            self.columns.len() - 1
        });
        let index = self.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
            let row = Row { name: name.to_owned(), unit: unit.to_owned(), budget, values: Vec::new() };
            self.rows.push(row);
            self.rows.len() - 1
        });
        let row = &mut self.rows[index];
        if row.values.len() <= position {
            row.values.resize(position + 1, None);
        }
        row.values[position] = value;
    }

    /// The figures as people read them.
    pub fn table(&self) -> String {
        let mut text = String::new();
        // A string takes every write.
        let _ = self.write_table(&mut text);
        text
    }

    fn write_table(&self, text: &mut String) -> std::fmt::Result {
        let name_width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(20);
        let widths: Vec<usize> = self.columns.iter().map(|column| column.chars().count().max(10)).collect();
        writeln!(text, "{}: {}\n", self.experiment, self.machine.line())?;
        write!(text, "{:<name_width$}  {:<12}{:>10}", "", "", "budget")?;
        for (column, width) in self.columns.iter().zip(&widths) {
            write!(text, "  {column:>width$}")?;
        }
        writeln!(text)?;
        for row in &self.rows {
            let budget = row.budget.map_or_else(|| "-".to_owned(), shown);
            write!(text, "{:<name_width$}  {:<12}{budget:>10}", row.name, row.unit)?;
            for (column, width) in widths.iter().enumerate() {
                let value = row.values.get(column).copied().flatten().map_or_else(|| "-".to_owned(), shown);
                write!(text, "  {value:>width$}")?;
            }
            writeln!(text)?;
        }
        Ok(())
    }

    /// Writes the findings and their charts into a folder.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), Failure> {
        let path = folder.join(format!("{}.json", self.experiment));
        let text = serde_json::to_string(self).map_err(Failure::software)?;
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, text + "\n"))
            .and_then(|()| fs::write(path.with_extension("txt"), self.table()))
            .map_err(|error| Failure::unavailable(format!("{}: {error}", path.display())))?;
        draw(&self.experiment, &self.charts, folder)
    }
}

/// Draws the charts of all findings of a folder again.
///
/// # Errors
/// It has none, or some cannot be read or drawn.
pub fn draw_again(folder: &Path) -> Result<(), Failure> {
    /// What is drawn. Nothing else is read, so that findings of earlier versions can be drawn too.
    #[derive(Deserialize)]
    struct Drawn {
        experiment: String,
        charts: Vec<Chart>,
    }
    let all: Vec<Drawn> = read_all(folder)?;
    all.iter().try_for_each(|drawn| draw(&drawn.experiment, &drawn.charts, folder))
}

fn draw(experiment: &str, charts: &[Chart], folder: &Path) -> Result<(), Failure> {
    charts.iter().try_for_each(|chart| {
        let path = folder.join(format!("{experiment}-{}.svg", chart.name));
        chart.draw(&path).map_err(|error| Failure::unavailable(format!("{}: {error}", path.display())))
    })
}

/// Everything that findings of a folder say, in the order of their names.
///
/// # Errors
/// It has none, or some cannot be read.
pub fn read_all<T: DeserializeOwned>(folder: &Path) -> Result<Vec<T>, Failure> {
    let wrong =
        |path: &Path, error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", path.display()));
    let entries = fs::read_dir(folder).map_err(|error| wrong(folder, &error))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).map_err(|error| wrong(path, &error))?;
        serde_json::from_str(&text).map_err(|error| wrong(path, &error))
    };
    let all: Vec<T> = paths.iter().map(read).collect::<Result<_, _>>()?;
    if all.is_empty() { Err(wrong(folder, &"no findings")) } else { Ok(all) }
}

/// Three digits are more than the noise leaves.
fn shown(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::Series;

    fn findings() -> Findings {
        let mut findings = Findings::new("trial");
        findings.put("before", "cost", "us", Some(50.0), Some(61.25));
        findings.put("after", "cost", "us", Some(50.0), Some(48.0));
        findings.put("after", "lost", "", None, Some(0.0));
        let series = Series { name: "one".to_owned(), points: vec![(1.0, 2.0), (2.0, 3.0)] };
        findings.charts.push(Chart::new("cost", "Cost", "clients", "us", vec![series]));
        findings
    }

    #[test]
    fn a_table_has_a_column_for_each_side() {
        let table = findings().table();
        let cost = table.lines().find(|line| line.starts_with("cost")).unwrap();
        assert_eq!(cost.split_whitespace().collect::<Vec<_>>(), ["cost", "us", "50.0", "61.2", "48.0"]);
        let lost = table.lines().find(|line| line.starts_with("lost")).unwrap();
        assert_eq!(lost.split_whitespace().collect::<Vec<_>>(), ["lost", "-", "-", "0"]);
    }

    #[test]
    fn findings_are_read_and_drawn_again() {
        let folder = tempfile::tempdir().unwrap();
        assert!(draw_again(folder.path()).is_err(), "there is none");
        let findings = findings();
        findings.save(folder.path()).unwrap();
        let drawing = folder.path().join("trial-cost.svg");
        fs::remove_file(&drawing).unwrap();
        let read: Vec<Findings> = read_all(folder.path()).unwrap();
        assert_eq!(read, [findings]);
        draw_again(folder.path()).unwrap();
        assert!(drawing.is_file());
    }
}
