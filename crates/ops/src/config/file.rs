//! What a TOML file of settings looks like: a template to fill in, and a JSON Schema for editors.

use super::field::{Field, Kind, Part, once};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// A TOML file with every setting of `parts`, commented out, with its meaning and its default. `defaults` replaces the
/// defaults of fields; such a default describes what happens, so it is a comment.
#[must_use]
pub fn template(parts: &[Part], defaults: &[(&str, &str)]) -> String {
    let (mut text, mut part) = (String::new(), "");
    for (heading, field) in once(parts) {
        if heading != part {
            let _ = writeln!(text, "# ---- {heading} ----\n");
            part = heading;
        }
        for line in field.help.lines() {
            let _ = writeln!(text, "# {}", line.trim());
        }
        let replaced = defaults.iter().find(|(name, _)| *name == field.name).map(|(_, text)| *text);
        let _ = match (replaced, field.default) {
            (Some(described), _) => {
                writeln!(text, "# By default: {described}.\n#{} = {}\n", field.name, toml(field, ""))
            }
            (None, Some(default)) => writeln!(text, "#{} = {}\n", field.name, toml(field, default)),
            (None, None) => writeln!(text, "# Required.\n#{} = {}\n", field.name, toml(field, "")),
        };
    }
    text
}

/// A JSON Schema (2020-12) of the TOML file of a program with these settings. `others` are the settings of programs that
/// may share the file.
#[must_use]
pub fn schema(title: &str, parts: &[Part], others: &[&str]) -> String {
    let mut properties = Map::new();
    for name in others {
        properties.insert((*name).to_owned(), json!({ "description": "A setting of another program." }));
    }
    for (_, field) in once(parts) {
        let meaning: Vec<&str> = field.help.split_whitespace().collect();
        let text = json!({ "type": "string" });
        // A number or a list may also be written as a text, as in a variable.
        let types = match field.kind() {
            Kind::Switch => json!([{ "type": "boolean" }, { "enum": ["true", "false"] }]),
            Kind::Whole => json!([{ "type": "integer" }, text]),
            Kind::Fraction => json!([{ "type": "number" }, text]),
            Kind::List => json!([text, { "type": "array", "items": { "type": "string" } }]),
            Kind::Text => json!([text, { "type": "number" }, { "type": "boolean" }, {
                "type": "array", "items": { "type": "string" }
            }]),
        };
        let mut property = json!({ "description": meaning.join(" "), "anyOf": types });
        if let (Some(default), Some(object)) = (field.default, property.as_object_mut()) {
            object.insert("default".to_owned(), Value::from(default));
        }
        properties.insert(field.name.to_owned(), property);
    }
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    format!("{schema:#}\n")
}

/// A value as TOML: what a variable would hold, in the form of the setting's kind.
pub fn toml(field: &Field, value: &str) -> String {
    let is_bare = match field.kind() {
        Kind::Switch => value.parse::<bool>().is_ok(),
        Kind::Whole => value.parse::<i64>().is_ok(),
        Kind::Fraction => value.parse::<f64>().is_ok_and(f64::is_finite) && value.contains('.'),
        Kind::List | Kind::Text => false,
    };
    // A JSON string is a TOML string.
    if is_bare { value.to_owned() } else { Value::from(value).to_string() }
}
