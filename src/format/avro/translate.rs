//! Columns to a schema and a schema to columns (Connect's `AvroData`, ksqlDB's `AvroSchemas` and `ConnectSchemaTranslator`).
//!
//! ```text
//! A INT, M MAP<STRING, INT>      record of ["null","int"] and ["null", array of MapEntry records], never an Avro map
//! ```
//!
//! The text is ksqlDB's to the letter: a schema that ksqlDB has registered is found again.

use super::schema::{Field, Id, Kind, Schema};
use super::tree::check_part;
use crate::format::schema::Derivation;
use crate::types::SqlType;
use std::collections::HashSet;
use std::fmt::Write;

/// Namespace of the schemas that ksqlDB makes.
const NAMESPACE: &str = "io.confluent.ksql.avro_schemas";
/// Digits of a decimal that does not say how many it has.
const PRECISION: i64 = 64;
/// Limit of types in the columns of one schema: named types can repeat each other without end.
const TYPES_MAX: usize = 20_000;

/// The name of a column's field.
pub(super) fn field_name(column: &str) -> String {
    column.replace('.', "_")
}

/// The schema of a record of these columns, or of the only one, unwrapped.
pub(in crate::format) fn text(columns: &[(&str, &SqlType)], by: &Derivation<'_>) -> Result<String, String> {
    let name = match by.full_name {
        Some(name) => name.to_owned(),
        None if by.key => format!("{NAMESPACE}.{}Key", camel_case(by.source)),
        None => format!("{NAMESPACE}.KsqlDataSourceSchema"),
    };
    let mut writer = Text { out: String::new(), names: HashSet::new() };
    match columns {
        [(_, ty)] if by.unwrapped || by.key => writer.ty(ty, &name, true),
        columns => writer.record(columns.iter().map(|(n, ty)| (*n, *ty)), &name),
    }
    .map_err(|reason| match reason.starts_with("Avro") {
        true => reason,
        false => format!("Schema is not compatible with Avro: {reason}"),
    })?;
    Ok(writer.out)
}

/// `MY_OUT` becomes `MyOut`.
fn camel_case(name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(letters.map(|c| c.to_ascii_lowercase())).collect::<String>()
    };
    name.split('_').map(word).collect()
}

struct Text {
    out: String,
    /// Full names of the records so far.
    names: HashSet<String>,
}

impl Text {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// A type below the record of this full name; the outermost one has no version.
    fn ty(&mut self, ty: &SqlType, name: &str, outermost: bool) -> Result<(), String> {
        let version = if outermost { "" } else { "\"connect.version\":1," };
        let logical = |out: &mut String, base: &str, class: &str, logical: &str| {
            let class = format!("org.apache.kafka.connect.data.{class}");
            let text =
                format!("{{\"type\":\"{base}\",{version}\"connect.name\":\"{class}\",\"logicalType\":\"{logical}\"}}");
            out.push_str(&text);
        };
        match ty {
            SqlType::Boolean => self.put("\"boolean\""),
            SqlType::Integer => self.put("\"int\""),
            SqlType::Bigint => self.put("\"long\""),
            SqlType::Double => self.put("\"double\""),
            SqlType::String => self.put("\"string\""),
            SqlType::Bytes => self.put("\"bytes\""),
            SqlType::Date => logical(&mut self.out, "int", "Date", "date"),
            SqlType::Time => logical(&mut self.out, "int", "Time", "time-millis"),
            SqlType::Timestamp => logical(&mut self.out, "long", "Timestamp", "timestamp-millis"),
            SqlType::Decimal(p, s) => write!(
                self.out,
                "{{\"type\":\"bytes\",\"scale\":{s},\"precision\":{p},{version}\"connect.parameters\":{{\"scale\":\"{s}\",\
                 \"connect.decimal.precision\":\"{p}\"}},\"connect.name\":\"org.apache.kafka.connect.data.Decimal\",\
                 \"logicalType\":\"decimal\"}}"
            )
            .map_err(|e| e.to_string())?,
            SqlType::Array(item) => {
                self.put("{\"type\":\"array\",\"items\":[\"null\",");
                self.ty(item, name, false)?;
                self.put("]}");
            }
            SqlType::Map(key, value) => self.map(key, value, name)?,
            SqlType::Struct(fields) => self.record(fields.iter().map(|(n, ty)| (n.as_str(), ty)), name)?,
        }
        Ok(())
    }

    fn map(&mut self, key: &SqlType, value: &SqlType, name: &str) -> Result<(), String> {
        if *key != SqlType::String {
            return Err("Avro only supports MAPs with STRING keys".to_owned());
        }
        self.put("{\"type\":\"array\",\"items\":");
        self.head(name)?;
        self.put("{\"name\":\"key\",\"type\":[\"null\",\"string\"],\"default\":null},{\"name\":\"value\",\"type\":[\"null\",");
        self.ty(value, &format!("{name}_MapValue"), false)?;
        self.put("],\"default\":null}],\"connect.internal.type\":\"MapEntry\"}");
        self.connect_name(name);
        Ok(())
    }

    fn record<'a>(&mut self, fields: impl Iterator<Item = (&'a str, &'a SqlType)>, name: &str) -> Result<(), String> {
        self.head(name)?;
        let mut seen = HashSet::new();
        for (i, (column, ty)) in fields.enumerate() {
            let field = field_name(column);
            check_part(&field)?;
            if !seen.insert(field.clone()) {
                return Err(format!("Duplicate field {field} in record {name}"));
            }
            let comma = if i > 0 { "," } else { "" };
            self.put(&format!("{comma}{{\"name\":\"{field}\",\"type\":[\"null\","));
            self.ty(ty, &format!("{name}_{field}"), false)?;
            self.put("],\"default\":null}");
        }
        self.put("]");
        self.connect_name(name);
        Ok(())
    }

    /// The start of a record, up to its fields. The records below it are in its namespace.
    fn head(&mut self, name: &str) -> Result<(), String> {
        let (namespace, last) = name.rsplit_once('.').unwrap_or(("", name));
        check_part(last)?;
        if !self.names.insert(name.to_owned()) {
            return Err(format!("Can't redefine: {name}"));
        }
        self.put(&format!("{{\"type\":\"record\",\"name\":\"{last}\","));
        // The namespace of a type without a record around it is written with its first record.
        if !namespace.is_empty() && self.names.len() == 1 {
            self.put(&format!("\"namespace\":\"{namespace}\","));
        }
        self.put("\"fields\":[");
        Ok(())
    }

    fn connect_name(&mut self, name: &str) {
        self.put(&format!(",\"connect.name\":\"{name}\"}}"));
    }
}

/// Why a type has no column.
enum Fault {
    /// The column is left out.
    Left(String),
    /// The schema is refused.
    Refused(String),
}

fn refused<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Refused(reason.into()))
}

/// The type of a whole payload.
pub(in crate::format) fn payload_type(schema: &Schema, upper_case: bool) -> Result<SqlType, String> {
    let mut inference = Columns { schema, upper_case, above: vec![], types: 0 };
    inference.ty(schema.root(), "").map_err(|fault| match fault {
        Fault::Left(reason) | Fault::Refused(reason) => reason,
    })
}

/// The full name of the outermost record.
pub(in crate::format) fn name(schema: &Schema) -> Option<String> {
    schema.node(schema.root()).name.clone()
}

struct Columns<'a> {
    schema: &'a Schema,
    upper_case: bool,
    /// Records around the current type.
    above: Vec<Id>,
    types: usize,
}

impl Columns<'_> {
    fn ty(&mut self, id: Id, path: &str) -> Result<SqlType, Fault> {
        self.types += 1;
        if self.types > TYPES_MAX {
            return refused(format!("the schema has more than {TYPES_MAX} types"));
        }
        let schema = self.schema;
        let node = schema.node(id);
        let logical = |name: &str| schema.is_logical(id, name);
        Ok(match &node.kind {
            Kind::Null => return refused("Standalone null schemas are not supported by this converter"),
            Kind::Boolean => SqlType::Boolean,
            Kind::Int if logical("date") => SqlType::Date,
            Kind::Int if logical("time-millis") => SqlType::Time,
            Kind::Int => match node.notes.connect_type.as_deref().filter(|_| node.notes.logical.is_none()) {
                None | Some("int8" | "int16" | "int32") => SqlType::Integer,
                Some(_) => return refused("Connect type annotation for Avro int field is null"),
            },
            Kind::Long if logical("timestamp-millis") => SqlType::Timestamp,
            Kind::Long => SqlType::Bigint,
            Kind::Float | Kind::Double => SqlType::Double,
            Kind::Bytes | Kind::Fixed(_) if logical("decimal") => decimal(schema, id)?,
            Kind::Bytes | Kind::Fixed(_) => SqlType::Bytes,
            Kind::String | Kind::Enum(_) => SqlType::String,
            Kind::Array(item) => match schema.map_entries(*item) {
                Some(entries) => self.entries(entries, path)?,
                None => SqlType::Array(Box::new(self.ty(*item, path)?)),
            },
            Kind::Map(value) => SqlType::Map(Box::new(SqlType::String), Box::new(self.ty(*value, path)?)),
            Kind::Record(fields) => {
                if self.above.contains(&id) {
                    let name = node.name.as_deref().unwrap_or_default();
                    let place = if path.is_empty() { "the top" } else { path };
                    return refused(format!("the record {name} contains itself at {place}, which no column can"));
                }
                self.above.push(id);
                let fields = fields.iter().map(|f| (f.name.as_str(), f.ty)).collect::<Vec<_>>();
                let fields = self.fields(&fields, path)?;
                self.above.pop();
                SqlType::Struct(fields)
            }
            Kind::Union(_) => {
                let (branches, _) = schema.union(id).unwrap_or_default();
                match *branches.as_slice() {
                    [] => return refused("Standalone null schemas are not supported by this converter"),
                    [(_, only)] => return self.ty(only, path),
                    ref several => {
                        let named: Vec<_> = several.iter().map(|(_, ty)| (branch_name(schema, *ty), *ty)).collect();
                        SqlType::Struct(self.fields(&named, path)?)
                    }
                }
            }
        })
    }

    fn fields(&mut self, fields: &[(&str, Id)], path: &str) -> Result<Vec<(String, SqlType)>, Fault> {
        let mut out: Vec<(String, SqlType)> = vec![];
        let mut names = HashSet::new();
        for (name, ty) in fields {
            let below = if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") };
            match self.ty(*ty, &below) {
                Ok(ty) => {
                    let name = if self.upper_case { name.to_uppercase() } else { (*name).to_owned() };
                    if !names.insert(name.clone()) {
                        return refused(format!("Cannot create field because of field name duplication {name}"));
                    }
                    out.push((name, ty));
                }
                Err(Fault::Left(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(out)
    }

    fn entries(&mut self, entries: &[Field], path: &str) -> Result<SqlType, Fault> {
        let of = |name: &str| entries.iter().find(|f| f.name == name).map(|f| f.ty);
        let (Some(key), Some(value)) = (of("key"), of("value")) else {
            return refused("a map entry has key and value");
        };
        match self.ty(key, path)? {
            SqlType::Integer | SqlType::Bigint | SqlType::Boolean | SqlType::String => {}
            other => return Err(Fault::Left(format!("Unsupported type for map key: {other}"))),
        }
        Ok(SqlType::Map(Box::new(SqlType::String), Box::new(self.ty(value, path)?)))
    }
}

/// The name by which Connect calls a branch of a union: the type's, without its namespace.
pub(super) fn branch_name(schema: &Schema, id: Id) -> &str {
    let node = schema.node(id);
    match &node.name {
        Some(name) => name.rsplit('.').next().unwrap_or(name),
        None => node.kind.type_name(),
    }
}

fn decimal(schema: &Schema, id: Id) -> Result<SqlType, Fault> {
    let notes = &schema.node(id).notes;
    let (precision, scale) = (notes.precision.unwrap_or(PRECISION), notes.scale.unwrap_or(0));
    if !(1..=76).contains(&precision) || !(0..=precision).contains(&scale) {
        return refused(format!("DECIMAL({precision}, {scale}) is not supported: it has 1 to 76 digits"));
    }
    Ok(SqlType::Decimal(precision as u8, scale as i8))
}
