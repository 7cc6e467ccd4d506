//! The examples of docs/capacity.md follow from its formulas.

use crate::tree::read;

/// The number in a cell such as `0.02`, `10 000` or `2.3 GB`, and half of its last digit.
fn number(cell: &str) -> (f64, f64) {
    let unit = [(" GB", 1e9), (" MB", 1e6)].into_iter().find(|(name, _)| cell.ends_with(name));
    let digits = unit.map_or(cell, |(name, _)| cell.trim_end_matches(name)).replace(' ', "");
    let factor = unit.map_or(1.0, |(_, factor)| factor);
    let decimals = digits.split_once('.').map_or(0, |(_, after)| after.len());
    let value: f64 = digits.parse().unwrap_or_else(|_| panic!("{cell} is not a number"));
    (value * factor, 0.5 * factor / 10_f64.powi(i32::try_from(decimals).unwrap()))
}

#[test]
fn the_examples_of_capacity_follow_from_its_formulas() {
    let text = read("docs/capacity.md");
    let (_, table) = text.split_once("| --- | --- | --- | --- | --- | --- | --- |\n").unwrap();
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), 4);
    for row in rows {
        let cells: Vec<(f64, f64)> = row.trim_matches(['|', ' ']).split(" | ").map(number).collect();
        let (devices, notifications) = (cells[0].0, cells[1].0);
        // What the page says above the table: a payload of 1 000 bytes for each device, and a thousandth of them comes and goes.
        let memory = 1.5 * (300.0 + 200.0 + 1_000.0) * devices;
        let expected = [
            (devices / 70_000.0).ceil().max(2.0),
            (36e-6 * notifications + 0.5e-6 * devices + 60e-6 * devices / 1_000.0) / 0.6,
            40e-6 * notifications / 0.6,
            memory,
            (memory / 6e9).ceil(),
        ];
        for ((shown, half), expected) in cells[2..].iter().zip(expected) {
            assert!((shown - expected).abs() <= half * 1.001, "{row}: {shown} in place of {expected}");
        }
    }
}
