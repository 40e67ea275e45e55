//! Generated data: `CREATE STREAM orders WITH (SOURCE = 'datagen')`, and what `tidegate datagen` writes.
//!
//! ```text
//! CREATE STREAM o WITH (SOURCE = 'datagen', QUICKSTART = 'orders', RATE = 50, COUNT = 1000, SEED = 7, KAFKA_TOPIC = 'orders');
//!     columns    those of the template, unless the statement declares some of them
//!     rows       row number i of the seed, where i counts the records that the topic has had: a restart continues behind them
//!     end        after COUNT records, or with DROP
//! ```
//!
//! The statement is expanded before it is planned: what remains is an ordinary stream over a topic. Which generators run follows
//! from the catalogue (`run`), so that the command log needs no word about them. ksql-datagen's option for the template is QUICKSTART,
//! too.

pub(in crate::engine) mod run;
pub mod templates;

use crate::catalog::Catalog;
use crate::error::{Error, Kind, Result};
use crate::parse::statement::{CreateSource, Properties, PropertyValue, SourceKind, Statement};
use crate::parse::{CustomTypes, parse_with};
use crate::types::nearest;
use std::time::Duration;
use templates::Template;

/// Rows a second unless RATE says otherwise: a stream that moves, and no load.
pub const RATE: u64 = 10;
/// The highest rate: what one thread encodes beside the queries that read it.
pub const RATE_MAX: u64 = 100_000;
/// Rows unless COUNT says otherwise, as in ksql-datagen: a generator that is forgotten does not fill the disk.
pub const COUNT: u64 = 1_000_000;
/// Generators of one engine, each of them a thread.
pub const GENERATORS_MAX: usize = 32;

/// The property that asks for a generator, and its value.
const SOURCE: &str = "SOURCE";
const DATAGEN: &str = "datagen";
/// Properties of a generator.
const OWN: [&str; 5] = [SOURCE, "QUICKSTART", "RATE", "COUNT", "SEED"];

/// What a generator writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The kind of rows.
    pub template: Template,
    /// Rows a second.
    pub rate: u64,
    /// Rows altogether.
    pub count: u64,
    /// What the rows follow from.
    pub seed: u64,
}

impl Spec {
    /// Rows that are due after this time.
    pub fn due(&self, elapsed: Duration) -> u64 {
        u64::try_from(elapsed.as_nanos() * u128::from(self.rate) / 1_000_000_000).unwrap_or(u64::MAX)
    }

    /// The generator of a statement; `None` = it has none.
    fn of(create: &CreateSource) -> Result<Option<Spec>> {
        let find = |wanted: &str| create.with.iter().find(|(name, _)| name.value.eq_ignore_ascii_case(wanted));
        let Some((source, value)) = find(SOURCE) else { return Ok(None) };
        if !text(value).eq_ignore_ascii_case(DATAGEN) {
            return Err(Error::statement(format!("unknown source {}", text(value)))
                .with_hint("SOURCE = 'datagen' generates rows; a stream over a topic has no SOURCE")
                .at(source.span));
        }
        let template = match find("QUICKSTART") {
            Some((name, value)) => template(&text(value)).map_err(|e| e.at(name.span))?,
            // CREATE STREAM orders WITH (SOURCE = 'datagen') says enough.
            None => template(&create.name.value.to_lowercase())
                .map_err(|e| e.with_detail("QUICKSTART names it, else the name of the stream").at(source.span))?,
        };
        let number = |wanted: &str, usual: u64, range: std::ops::RangeInclusive<u64>| match find(wanted) {
            None => Ok(usual),
            Some((name, value)) => text(value).parse().ok().filter(|n| range.contains(n)).ok_or_else(|| {
                let (low, high) = (range.start(), range.end());
                Error::statement(format!("{wanted} must be a number from {low} to {high}, got {}", text(value)))
                    .at(name.span)
            }),
        };
        Ok(Some(Spec {
            template,
            rate: number("RATE", RATE, 1..=RATE_MAX)?,
            count: number("COUNT", COUNT, 0..=u64::MAX >> 1)?,
            seed: number("SEED", 1, 0..=u64::MAX)?,
        }))
    }
}

/// The template of a name, or which there are.
pub fn template(name: &str) -> Result<Template> {
    Template::of(name).ok_or_else(|| {
        let names = Template::ALL.map(Template::name);
        let error = Error::statement(format!("unknown template {name}"));
        match nearest(name, names.into_iter()) {
            Some(near) => error.with_hint(format!("did you mean {near}?")),
            None => error.with_hint(format!("templates are {}", names.join(", "))),
        }
    })
}

/// The generator in the text of a CREATE STREAM or CREATE TABLE.
pub(in crate::engine) fn spec_of(sql: &str) -> Option<Spec> {
    if !sql.to_ascii_lowercase().contains(DATAGEN) {
        return None;
    }
    let parsed = parse_with(sql, &CustomTypes::new()).ok()?.pop()?;
    match parsed.statement {
        Statement::CreateSource(create) => Spec::of(&create).ok()?,
        _ => None,
    }
}

/// The statement without its generator; `None` = it has none.
pub(in crate::engine) fn expanded(create: &CreateSource, catalog: &Catalog) -> Result<Option<CreateSource>> {
    let Some(spec) = Spec::of(create)? else { return Ok(None) };
    let others = catalog.all().filter(|source| source.name != create.name.value && spec_of(&source.sql).is_some());
    if others.count() >= GENERATORS_MAX {
        return Err(Error::new(Kind::Busy, format!("{GENERATORS_MAX} streams are generated, which is the limit"))
            .with_hint("drop one of them first")
            .at(create.name.span));
    }
    if create.read_only {
        return Err(
            Error::statement("a SOURCE stream or table is only read: it cannot be generated").at(create.name.span)
        );
    }
    let mut expanded = create.clone();
    expanded.with.retain(|(name, _)| !OWN.iter().any(|own| name.value.eq_ignore_ascii_case(own)));
    let columns = spec.template.columns();
    for declared in &create.columns {
        let known = columns.iter().any(|c| c.name.eq_ignore_ascii_case(&declared.name.value));
        if !known {
            let names: Vec<&str> = columns.iter().map(|c| c.name).collect();
            let error = Error::statement(format!("{} has no column {}", spec.template.name(), declared.name.value));
            return Err(error.with_hint(format!("its columns are {}", names.join(", "))).at(declared.name.span));
        }
    }
    let key = if create.kind == SourceKind::Table { "PRIMARY KEY" } else { "KEY" };
    let name = create.name.value.replace('\'', "''");
    let defaults = template_statement(spec.template, key, &name)?;
    if expanded.columns.is_empty() {
        expanded.columns = defaults.columns;
    }
    let has =
        |properties: &Properties, wanted: &str| properties.iter().any(|(n, _)| n.value.eq_ignore_ascii_case(wanted));
    for (name, value) in defaults.with {
        let is_given =
            has(&expanded.with, &name.value) || name.value == "VALUE_FORMAT" && has(&expanded.with, "FORMAT");
        if !is_given {
            expanded.with.push((name, value));
        }
    }
    Ok(Some(expanded))
}

/// The statement that a generator's defaults come from.
fn template_statement(template: Template, key: &str, topic: &str) -> Result<CreateSource> {
    let kind = if key == "KEY" { "STREAM" } else { "TABLE" };
    let sql = format!(
        "CREATE {kind} x ({}) WITH (KAFKA_TOPIC = '{topic}', VALUE_FORMAT = 'JSON', PARTITIONS = 1);",
        template.declaration(key)
    );
    match parse_with(&sql, &CustomTypes::new())?.pop().map(|parsed| parsed.statement) {
        Some(Statement::CreateSource(create)) => Ok(create),
        _ => Err(Error::bug("a template is no CREATE STREAM")),
    }
}

fn text(value: &PropertyValue) -> String {
    match value {
        PropertyValue::Text(text) | PropertyValue::Number(text) => text.clone(),
        PropertyValue::Boolean(flag) => flag.to_string(),
    }
}
