//! `WITH (name = value, ...)`: which names exist, what their values are.

use crate::catalog::{Format, Nullable, Wire};
use crate::error::{Error, Result, Span};
use crate::parse::statement::{Properties, PropertyValue};
use crate::plan::formats;
use crate::types::nearest;
use crate::types::time::WindowKind;

/// Most partitions that a statement may ask for: far beyond any sensible topic, far below what would hang a broker.
pub(super) const PARTITIONS_MAX: u32 = 100_000;

/// The WITH clause, read.
#[derive(Clone, Debug, Default)]
pub(super) struct With {
    /// The topic, by the name that the statement gives it.
    pub topic: Option<(String, Span)>,
    pub partitions: Option<u32>,
    pub replicas: Option<u16>,
    pub retention_ms: Option<i64>,
    pub key_format: Option<Format>,
    pub value_format: Option<Format>,
    /// Delimiters, which may be given without the format that they belong to.
    pub key_delimiter: Option<(char, Span)>,
    pub value_delimiter: Option<(char, Span)>,
    pub wrap_single_value: Option<bool>,
    pub timestamp: Option<(String, Span)>,
    pub timestamp_format: Option<(String, Span)>,
    pub window: Option<WindowKind>,
    /// Where late rows are kept.
    pub late_topic: Option<(String, Span)>,
    /// What it says of the schemas of key and value.
    pub key_schema: WithSchema,
    pub value_schema: WithSchema,
}

/// What the clause says of the schema of one side.
#[derive(Clone, Debug, Default)]
pub(super) struct WithSchema {
    /// `*_SCHEMA_ID`
    pub id: Option<(i32, Span)>,
    /// `*_SCHEMA_FULL_NAME`
    pub full_name: Option<(String, Span)>,
    /// `VALUE_AVRO_SCHEMA_FULL_NAME`, which wins.
    avro_full_name: Option<(String, Span)>,
    /// `*_PROTOBUF_NULLABLE_REPRESENTATION`
    pub nullable: Option<(Nullable, Span)>,
}

/// Which statement the clause belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Create,
    CreateAs,
}

/// Properties of ksqlDB that are known but not carried out here.
const LATER: [&str; 5] = ["SOURCED_BY_CONNECTOR", "SOURCE_CONNECTOR", "KEY_SCHEMA", "VALUE_SCHEMA", "QUERY_ID"];

impl With {
    /// Reads the clause; the first wrong property is an error at its place.
    pub(super) fn read(properties: &Properties, used: Use) -> Result<With> {
        let mut with = With::default();
        let (mut window_type, mut window_size) = (None, None);
        let mut format = None;
        for (name, value) in properties {
            let at = |e: Error| e.at(name.span);
            match name.value.to_ascii_uppercase().as_str() {
                "KAFKA_TOPIC" => with.topic = Some((topic(value).map_err(at)?, name.span)),
                "PARTITIONS" => with.partitions = Some(partitions(value).map_err(at)?),
                "REPLICAS" => with.replicas = Some(replicas(value).map_err(at)?),
                "RETENTION_MS" => with.retention_ms = Some(number("RETENTION_MS", value, "LONG").map_err(at)?),
                "FORMAT" => format = Some((format_of(value).map_err(at)?, name.span)),
                "KEY_FORMAT" => with.key_format = Some(format_of(value).map_err(at)?),
                "VALUE_FORMAT" => with.value_format = Some(format_of(value).map_err(at)?),
                "WRAP_SINGLE_VALUE" => with.wrap_single_value = Some(flag(&name.value, value).map_err(at)?),
                "TIMESTAMP" => with.timestamp = Some((column(text(value)), name.span)),
                "TIMESTAMP_FORMAT" => with.timestamp_format = Some((text(value), name.span)),
                "KEY_DELIMITER" => {
                    with.key_delimiter = Some((delimiter(&name.value, &text(value)).map_err(at)?, name.span));
                }
                "VALUE_DELIMITER" => {
                    with.value_delimiter = Some((delimiter(&name.value, &text(value)).map_err(at)?, name.span));
                }
                "WINDOW_TYPE" if used == Use::Create => window_type = Some((text(value), name.span)),
                "WINDOW_SIZE" if used == Use::Create => window_size = Some((text(value), name.span)),
                "LATE_TOPIC" | "LATE.TOPIC" if used == Use::CreateAs => {
                    with.late_topic = Some((topic(value).map_err(at)?, name.span));
                }
                "CLEANUP_POLICY" => {
                    return Err(at(Error::statement(
                        "Invalid config variable in the WITH clause: CLEANUP_POLICY. It is chosen by the engine.",
                    )));
                }
                other if with.read_schema(other, (value, name.span)).map_err(at)? => {}
                other if LATER.contains(&other) => {
                    return Err(at(Error::statement(format!("the property {other} is not supported yet"))));
                }
                other => {
                    return Err(at(unknown(other)));
                }
            }
        }
        if let Some((format, span)) = format {
            if with.key_format.is_some() || with.value_format.is_some() {
                let other = if with.key_format.is_some() { "KEY_FORMAT" } else { "VALUE_FORMAT" };
                let text = format!(
                    "Failed to prepare statement: Cannot supply both '{other}' and 'FORMAT' properties, as 'FORMAT' sets both key and value formats. Either \
                     use just 'FORMAT', or use 'KEY_FORMAT' and 'VALUE_FORMAT'."
                );
                return Err(Error::statement(text).at(span));
            }
            with.key_format = Some(format);
            with.value_format = Some(format);
        }
        if let Some(full_name) = with.value_schema.avro_full_name.take() {
            with.value_schema.full_name = Some(full_name);
        }
        with.key_format.map_or(Ok(()), |format| check_delimiter(format, with.key_delimiter))?;
        with.value_format.map_or(Ok(()), |format| check_delimiter(format, with.value_delimiter))?;
        with.window = window(window_type, window_size)?;
        Ok(with)
    }

    /// Reads a property about a schema; false = it is another one.
    fn read_schema(&mut self, name: &str, (value, span): (&PropertyValue, Span)) -> Result<bool> {
        let (schema, rest) = match name.split_once('_') {
            Some(("KEY", rest)) => (&mut self.key_schema, rest),
            Some(("VALUE", rest)) => (&mut self.value_schema, rest),
            _ => return Ok(false),
        };
        match rest {
            "SCHEMA_ID" => schema.id = Some((schema_id(name, value)?, span)),
            "SCHEMA_FULL_NAME" => schema.full_name = Some((text(value), span)),
            "AVRO_SCHEMA_FULL_NAME" if name.starts_with("VALUE") => schema.avro_full_name = Some((text(value), span)),
            "PROTOBUF_NULLABLE_REPRESENTATION" => schema.nullable = Some((nullable(name, value)?, span)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The key's format: as given, or `other`, a source's or the session's. Of the same format, `other` also lends its
    /// delimiter where none is given.
    pub(super) fn key_format(&self, other: Option<Format>) -> Result<Option<Format>> {
        format_with(self.key_format, self.key_delimiter, other)
    }

    /// The same for the value.
    pub(super) fn value_format(&self, other: Option<Format>) -> Result<Option<Format>> {
        format_with(self.value_format, self.value_delimiter, other)
    }
}

fn format_with(
    given: Option<Format>,
    delimiter: Option<(char, Span)>,
    other: Option<Format>,
) -> Result<Option<Format>> {
    let Some(format) = given.or(other) else { return Ok(None) };
    check_delimiter(format, delimiter)?;
    Ok(Some(match (format, delimiter, other) {
        (Format::Delimited(_), Some((delimiter, _)), _) => Format::Delimited(delimiter),
        (Format::Delimited(_), None, Some(Format::Delimited(inherited))) => Format::Delimited(inherited),
        (format, ..) => format,
    }))
}

impl WithSchema {
    /// The wire of a side in this format. A PROTOBUF sink of a source in the same format inherits the full name, as in ksqlDB.
    pub(super) fn wire(&self, part: &str, format: Format, inherited: Option<&Wire>) -> Result<Wire> {
        if let Some((_, span)) = &self.full_name
            && format.schema_type().is_none()
        {
            let text = format!("{} does not support the following configs: [fullSchemaName]", format.name());
            return Err(Error::statement(text).at(*span));
        }
        if let Some((name, span)) = &self.full_name
            && name.trim().is_empty()
        {
            // Blanks around the name do not count.
            let text = "fullSchemaName cannot be empty. Format configuration: {fullSchemaName=}";
            return Err(Error::statement(text).at(*span));
        }
        if let Some((_, span)) = self.nullable
            && format != Format::Protobuf
        {
            let text =
                format!("Property {part}_PROTOBUF_NULLABLE_REPRESENTATION can only be enabled with protobuf format");
            return Err(Error::statement(text).at(span));
        }
        let own = self.full_name.as_ref().map(|(name, _)| name.trim().to_owned());
        let lent = inherited.filter(|_| format == Format::Protobuf).and_then(|wire| wire.full_name.clone());
        let nullable = self.nullable.map(|(nullable, _)| nullable).unwrap_or_default();
        Ok(Wire { full_name: own.or(lent), nullable, schema: None })
    }
}

/// Names of properties, for hints.
const NAMES: [&str; 21] = [
    "KAFKA_TOPIC",
    "PARTITIONS",
    "REPLICAS",
    "RETENTION_MS",
    "FORMAT",
    "KEY_FORMAT",
    "VALUE_FORMAT",
    "WRAP_SINGLE_VALUE",
    "TIMESTAMP",
    "TIMESTAMP_FORMAT",
    "KEY_DELIMITER",
    "VALUE_DELIMITER",
    "WINDOW_TYPE",
    "WINDOW_SIZE",
    "KEY_SCHEMA_ID",
    "VALUE_SCHEMA_ID",
    "KEY_SCHEMA_FULL_NAME",
    "VALUE_SCHEMA_FULL_NAME",
    "VALUE_AVRO_SCHEMA_FULL_NAME",
    "KEY_PROTOBUF_NULLABLE_REPRESENTATION",
    "VALUE_PROTOBUF_NULLABLE_REPRESENTATION",
];

/// The properties that WITH can have, for completion.
pub fn with_properties() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter()
}

fn unknown(name: &str) -> Error {
    let error =
        Error::statement(format!("Failed to prepare statement: Invalid config variable(s) in the WITH clause: {name}"));
    if name == "KEY" {
        return error
            .with_hint("the key is declared in the list of columns: id STRING KEY, in a table id STRING PRIMARY KEY");
    }
    match nearest(name, NAMES.into_iter()) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => error,
    }
}

fn text(value: &PropertyValue) -> String {
    match value {
        PropertyValue::Text(text) | PropertyValue::Number(text) => text.clone(),
        PropertyValue::Boolean(flag) => flag.to_string(),
    }
}

/// A column name given as text: upper-cased unless it is in back quotes.
fn column(name: String) -> String {
    match name.strip_prefix('`').and_then(|n| n.strip_suffix('`')) {
        Some(quoted) => quoted.replace("``", "`"),
        None => name.to_uppercase(),
    }
}

/// One character, or the name of one that is not seen.
fn delimiter(property: &str, text: &str) -> Result<char> {
    let wrong = |why: String| {
        let property = property.to_uppercase();
        Error::statement(format!(
            "Failed to prepare statement: Configuration {property} is invalid: {why}\nExample valid value: ';'"
        ))
    };
    match text {
        "TAB" => return Ok('\t'),
        "SPACE" => return Ok(' '),
        text if text.trim().is_empty() => {
            return Err(wrong(
                "Delimiter cannot be empty, if you meant to have a tab or space for delimiter, please use the special \
                 values 'TAB' or 'SPACE'"
                    .to_owned(),
            ));
        }
        _ => {}
    }
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(one), None) => Ok(one),
        _ => {
            Err(wrong(format!("Invalid delimiter value: '{text}'. Delimiter must be a single character or TAB,SPACE")))
        }
    }
}

/// Only one format has a delimiter.
fn check_delimiter(format: Format, delimiter: Option<(char, Span)>) -> Result<()> {
    match (format, delimiter) {
        (Format::Delimited(_), _) | (_, None) => Ok(()),
        (other, Some((_, span))) => {
            let text = format!("{} does not support the following configs: [delimiter]", other.name());
            Err(Error::statement(text).with_hint("only DELIMITED has a delimiter").at(span))
        }
    }
}

fn topic(value: &PropertyValue) -> Result<String> {
    match value {
        PropertyValue::Text(name) if !name.is_empty() => Ok(name.clone()),
        _ => Err(Error::statement("expected the name of a topic in single quotes")),
    }
}

fn format_of(value: &PropertyValue) -> Result<Format> {
    formats::by_name(&text(value))
}

/// What Kafka's `ConfigDef` says of a value, with ksqlDB's word for a setting.
fn invalid_value(name: &str, value: &str, why: &str) -> Error {
    Error::statement(format!("Failed to prepare statement: Invalid value {value} for property {name}: {why}"))
}

fn number(name: &str, value: &PropertyValue, ty: &str) -> Result<i64> {
    let text = text(value);
    text.trim().parse().map_err(|_| invalid_value(name, &text, &format!("Not a number of type {ty}")))
}

fn schema_id(name: &str, value: &PropertyValue) -> Result<i32> {
    let text = text(value);
    text.trim().parse().map_err(|_| invalid_value(name, &text, "Not a number of type INT"))
}

fn nullable(name: &str, value: &PropertyValue) -> Result<Nullable> {
    match text(value).to_ascii_uppercase().as_str() {
        "OPTIONAL" => Ok(Nullable::Optional),
        "WRAPPER" => Ok(Nullable::Wrapper),
        other => Err(invalid_value(name, other, "String must be one of: OPTIONAL, WRAPPER, null")),
    }
}

fn partitions(value: &PropertyValue) -> Result<u32> {
    let n = number("PARTITIONS", value, "INT")?;
    match u32::try_from(n) {
        Ok(n) if (1..=PARTITIONS_MAX).contains(&n) => Ok(n),
        _ => Err(Error::statement("Number of partitions must be larger than 0.")
            .with_detail(format!("{n} is not between 1 and {PARTITIONS_MAX}"))),
    }
}

fn replicas(value: &PropertyValue) -> Result<u16> {
    let n = number("REPLICAS", value, "SHORT")?;
    match u16::try_from(n) {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(Error::statement("Replication factor must be positive.").with_detail(n.to_string())),
    }
}

fn flag(name: &str, value: &PropertyValue) -> Result<bool> {
    match text(value).to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid_value(name, &text(value), "Expected value to be either true or false")),
    }
}

fn window(kind: Option<(String, Span)>, size: Option<(String, Span)>) -> Result<Option<WindowKind>> {
    let Some((kind, span)) = kind else {
        return match size {
            None => Ok(None),
            Some((_, span)) => Err(Error::statement(
                "Failed to prepare statement: 'WINDOW_SIZE' should not be set for SESSION windows.",
            )
            .with_hint("WINDOW_TYPE='TUMBLING' or 'HOPPING' declares a window that has a size")
            .at(span)),
        };
    };
    let size = size.map(|(text, span)| duration(&text).map_err(|e| e.at(span))).transpose()?;
    let need = || {
        Error::statement(format!(
            "Failed to prepare statement: {} windows require 'WINDOW_SIZE' to be provided in the WITH clause. For example: 'WINDOW_SIZE'='10 SECONDS'",
            kind.to_uppercase()
        ))
        .at(span)
    };
    Ok(Some(match kind.to_ascii_uppercase().as_str() {
        "TUMBLING" => WindowKind::Tumbling { size_ms: size.ok_or_else(need)? },
        // The bytes of a windowed key hold no distance between windows, so that none can be declared.
        "HOPPING" => size.map(|size_ms| WindowKind::Hopping { size_ms, advance_ms: size_ms }).ok_or_else(need)?,
        "SESSION" if size.is_none() => WindowKind::Session { gap_ms: 0 },
        "SESSION" => {
            return Err(Error::statement(
                "Failed to prepare statement: 'WINDOW_SIZE' should not be set for SESSION windows.",
            )
            .at(span));
        }
        _ => {
            let why = "String must be one of: SESSION, HOPPING, TUMBLING, null";
            return Err(invalid_value("WINDOW_TYPE", &kind, why).at(span));
        }
    }))
}

/// `10 SECONDS`.
fn duration(text: &str) -> Result<i64> {
    let wrong = |why: String| {
        Error::statement(format!(
            "Failed to prepare statement: Configuration WINDOW_SIZE is invalid: Invalid duration: '{text}'. {why}"
        ))
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let [number, unit] = words[..] else {
        return Err(wrong(format!("Expected 2 tokens, got: {}", words.len())));
    };
    let number: i64 = number.parse().map_err(|_| wrong(format!("Not numeric: '{number}'")))?;
    let unit_ms = match unit.to_ascii_uppercase().trim_end_matches('S') {
        "DAY" => 86_400_000,
        "HOUR" => 3_600_000,
        "MINUTE" => 60_000,
        "SECOND" => 1_000,
        "MILLISECOND" => 1,
        _ => {
            return Err(wrong(format!(
                "Unknown time unit: '{}'\nSupported time units are: NANOSECONDS, MICROSECONDS, MILLISECONDS, SECONDS, MINUTES, \
                 HOURS, DAYS",
                unit.to_ascii_uppercase()
            )));
        }
    };
    match number.checked_mul(unit_ms) {
        Some(ms) if ms > 0 => Ok(ms),
        _ => Err(wrong("It must be positive".to_owned())),
    }
}
