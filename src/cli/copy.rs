//! COPY: writes the rows of a query to a local file.
//!
//! ```sql
//! COPY (SELECT car, speed FROM readings WHERE speed > 280) TO 'fast.csv' (DELIMITER ';');
//! ```
//!
//! The format is that of FORMAT or of the file's ending: CSV (HEADER, DELIMITER, NULL), JSON with one object a line (with
//! ARRAY an array), or an Arrow IPC file. The rows go into a file beside it that gets the name when all of them are there, so
//! that a partial file is never visible. An existing file is kept unless OVERWRITE is given.

use super::render::{WAIT, quoted};
use crate::engine::result::rows::{OutputColumn, RowEvent, RowStream};
use crate::error::{Error, Result};
use crate::parse::statement::CopyTo;
use crate::present::Outcome;
use crate::types::cell::{self, settled};
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::ipc::writer::FileWriter;
use std::fs::{File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tempfile::NamedTempFile;

const OPTIONS: [&str; 6] = ["FORMAT", "HEADER", "DELIMITER", "NULL", "ARRAY", "OVERWRITE"];
/// What a new file may be, before the user's mask.
const MODE: u32 = 0o666;

/// How rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Csv { header: bool, delimiter: char, null: String },
    Json { array: bool },
    Arrow,
}

/// The options, read.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    copy: &'a CopyTo,
    kind: Kind,
    overwrite: bool,
}

/// How it ended.
pub(super) struct Copied {
    /// What was done, in words; `None` = the user stopped it, and there is no file.
    pub(super) message: Option<String>,
    /// What was read.
    pub(super) rows: Box<dyn RowStream>,
}

impl<'a> Plan<'a> {
    /// Reads the options; reports errors in them, or with the file, before the query runs.
    pub(super) fn read(copy: &'a CopyTo) -> Result<Plan<'a>> {
        let unknown = copy.options.iter().find(|(name, _)| !OPTIONS.contains(&name.value.as_str()));
        if let Some((name, _)) = unknown {
            return Err(Error::statement(format!("unknown COPY option {}", name.value))
                .with_hint(format!("options are {}", OPTIONS.join(", ")))
                .at(name.span));
        }
        let option = |wanted: &str| copy.options.iter().find(|(name, _)| name.value == wanted);
        let flag = |wanted: &str, default: bool| match option(wanted) {
            None => Ok(default),
            Some((name, value)) => match value.to_ascii_lowercase().as_str() {
                "true" | "on" | "1" => Ok(true),
                "false" | "off" | "0" => Ok(false),
                _ => Err(Error::statement(format!("{wanted} must be true or false, got {value}")).at(name.span)),
            },
        };
        let ending = Path::new(&copy.file).extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
        let format = option("FORMAT").map_or(ending.as_str(), |(_, value)| value).to_ascii_lowercase();
        let kind = match format.as_str() {
            "csv" | "tsv" => {
                let delimiter = option("DELIMITER").map_or(if format == "tsv" { "\t" } else { "," }, |(_, d)| d);
                let mut one = delimiter.chars();
                let (Some(delimiter), None) = (one.next(), one.next()) else {
                    return Err(Error::statement(format!("DELIMITER must be one character, got '{delimiter}'")));
                };
                let null = option("NULL").map(|(_, text)| text.clone()).unwrap_or_default();
                Kind::Csv { header: flag("HEADER", true)?, delimiter, null }
            }
            "json" | "ndjson" | "jsonl" => Kind::Json { array: flag("ARRAY", false)? },
            "arrow" | "ipc" | "feather" => Kind::Arrow,
            "parquet" => {
                return Err(Error::statement("Parquet is not supported")
                    .with_hint("write an Arrow file instead, which the same tools read: TO 'file.arrow'"));
            }
            other => {
                return Err(Error::statement(match other {
                    "" => "cannot infer the format from the file name".to_owned(),
                    other => format!("unknown format {other}"),
                })
                .with_hint("use csv, json or arrow: (FORMAT csv)"));
            }
        };
        let applies: &[&str] = match &kind {
            Kind::Csv { .. } => &["HEADER", "DELIMITER", "NULL"],
            Kind::Json { .. } => &["ARRAY"],
            Kind::Arrow => &[],
        };
        let idle = copy.options.iter().find(|(n, _)| {
            !["FORMAT", "OVERWRITE"].contains(&n.value.as_str()) && !applies.contains(&n.value.as_str())
        });
        if let Some((name, _)) = idle {
            return Err(Error::statement(format!("{} is not an option of {format}", name.value)).at(name.span));
        }
        let plan = Plan { copy, kind, overwrite: flag("OVERWRITE", false)? };
        match !plan.overwrite && Path::new(&copy.file).exists() {
            true => Err(plan.taken()),
            false => Ok(plan),
        }
    }

    fn taken(&self) -> Error {
        Error::statement(format!("file '{}' already exists", self.copy.file))
            .with_hint("use another name, or add (OVERWRITE true)")
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        Error::io(format!("cannot write '{}'", self.copy.file)).with_detail(error.to_string())
    }

    /// Writes all rows of the query.
    pub(super) fn carry_out(&self, answer: Outcome, interrupted: &dyn Fn() -> bool) -> Result<Copied> {
        let Outcome::Rows(mut rows) = answer else { return Err(Error::statement("COPY requires a query")) };
        if !rows.is_bounded() {
            return Err(Error::statement("COPY does not support queries with EMIT, which have no end")
                .with_hint("remove EMIT CHANGES to copy the rows that exist now"));
        }
        let file = Path::new(&self.copy.file);
        let directory = file.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let beside = tempfile::Builder::new()
            .prefix(".tidegate-")
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(directory)
            .map_err(|e| self.failed(&e))?;
        let Some(count) = self.write(&mut *rows, beside.as_file(), interrupted)? else {
            return Ok(Copied { message: None, rows });
        };
        let bytes = beside.as_file().metadata().map_or(0, |m| m.len());
        self.name(beside)?;
        let word = if count == 1 { "row" } else { "rows" };
        let message = format!("wrote {count} {word} to {} ({bytes} bytes)", self.copy.file);
        Ok(Copied { message: Some(message), rows })
    }

    /// Gives the whole file its name.
    fn name(&self, beside: NamedTempFile) -> Result<()> {
        beside.as_file().sync_all().map_err(|e| self.failed(&e))?;
        match self.overwrite {
            true => beside.persist(&self.copy.file).map(drop).map_err(|e| self.failed(&e.error)),
            false => beside.persist_noclobber(&self.copy.file).map(drop).map_err(|e| match e.error.kind() {
                std::io::ErrorKind::AlreadyExists => self.taken(),
                _ => self.failed(&e.error),
            }),
        }
    }

    /// How many rows were written; `None` = it was stopped.
    fn write(&self, rows: &mut dyn RowStream, file: &File, interrupted: &dyn Fn() -> bool) -> Result<Option<u64>> {
        let columns = rows.columns().to_vec();
        let mut writer = Writer::new(&self.kind, columns, file).map_err(|e| self.failed(&e))?;
        let mut count = 0;
        while !interrupted() {
            match rows.next(WAIT)? {
                RowEvent::Rows { columns, .. } => {
                    count += columns.first().map_or(0, |c| c.len()) as u64;
                    writer.batch(&columns).map_err(|e| self.failed(&e))?;
                }
                RowEvent::Idle => {}
                RowEvent::Done(_) => return writer.finish().map(|()| Some(count)).map_err(|e| self.failed(&e)),
            }
        }
        Ok(None)
    }
}

enum Writer<'a> {
    Text { kind: &'a Kind, columns: Vec<OutputColumn>, out: BufWriter<&'a File>, rows: u64 },
    Arrow { columns: Vec<OutputColumn>, schema: SchemaRef, out: Box<FileWriter<BufWriter<&'a File>>> },
}

impl<'a> Writer<'a> {
    fn new(kind: &'a Kind, columns: Vec<OutputColumn>, file: &'a File) -> Result<Writer<'a>> {
        let mut out = BufWriter::new(file);
        match kind {
            Kind::Arrow => {
                let field = |c: &OutputColumn| Field::new(&c.name, c.ty.arrow(), true);
                let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
                let out = Box::new(FileWriter::try_new(out, &schema)?);
                return Ok(Writer::Arrow { columns, schema, out });
            }
            Kind::Csv { header: true, delimiter, .. } => {
                let names: Vec<String> = columns.iter().map(|c| csv_cell(&c.name, *delimiter, "")).collect();
                writeln!(out, "{}", names.join(&delimiter.to_string()))?;
            }
            Kind::Json { array: true } => out.write_all(b"[")?,
            Kind::Csv { .. } | Kind::Json { .. } => {}
        }
        Ok(Writer::Text { kind, columns, out, rows: 0 })
    }

    fn batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        match self {
            Writer::Text { kind, columns, out, rows } => {
                let arrays: Vec<ArrayRef> = arrays.iter().zip(columns.iter()).map(|(a, c)| settled(a, &c.ty)).collect();
                for row in 0..arrays.first().map_or(0, |a| a.len()) {
                    match kind {
                        Kind::Csv { delimiter, null, .. } => csv_row(&arrays, row, (*delimiter, null), out)?,
                        Kind::Json { array } => {
                            let before: &[u8] = if *array && *rows > 0 { b",\n" } else { b"" };
                            out.write_all(before)?;
                            json_row(&arrays, columns, row, out)?;
                            out.write_all(if *array { b"" } else { b"\n" })?;
                        }
                        Kind::Arrow => {}
                    }
                    *rows += 1;
                }
                Ok(())
            }
            Writer::Arrow { columns, schema, out } => {
                let rows = arrays.first().map_or(0, |a| a.len());
                let arrays: Vec<ArrayRef> = arrays.iter().zip(columns.iter()).map(|(a, c)| settled(a, &c.ty)).collect();
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                Ok(out.write(&RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?)?)
            }
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Writer::Text { kind, mut out, .. } => {
                if *kind == (Kind::Json { array: true }) {
                    out.write_all(b"]\n")?;
                }
                Ok(out.flush()?)
            }
            Writer::Arrow { mut out, .. } => {
                out.finish()?;
                Ok(out.get_mut().flush()?)
            }
        }
    }
}

fn csv_row(arrays: &[ArrayRef], row: usize, (delimiter, null): (char, &str), out: &mut impl Write) -> Result<()> {
    for (i, array) in arrays.iter().enumerate() {
        if i > 0 {
            write!(out, "{delimiter}")?;
        }
        match cell::text(array, row)? {
            None => out.write_all(null.as_bytes())?,
            Some(text) => out.write_all(csv_cell(&text, delimiter, null).as_bytes())?,
        }
    }
    Ok(out.write_all(b"\n")?)
}

/// RFC 4180; a text that looks like NULL is quoted.
fn csv_cell(text: &str, delimiter: char, null: &str) -> String {
    match text == null || text.contains(['"', '\n', '\r', delimiter]) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

fn json_row(arrays: &[ArrayRef], columns: &[OutputColumn], row: usize, out: &mut impl Write) -> Result<()> {
    let mut line = Vec::from(b"{");
    for (i, (array, column)) in arrays.iter().zip(columns).enumerate() {
        line.extend_from_slice(if i > 0 { b"," } else { b"" });
        line.extend_from_slice(quoted(&column.name).as_bytes());
        line.push(b':');
        cell::write_json(array, row, &mut line)?;
    }
    line.push(b'}');
    Ok(out.write_all(&line)?)
}
