//! The meaning of an AVRO payload once more, without a thought for speed: a tree of the writer's values first, then the columns
//! by Connect's rules.

use super::oracle::V;
use serde_json::Value;
use std::collections::HashMap;
use tidegate::types::decimal_text::DecimalText;
use tidegate::types::java_double::{write_java_double, write_java_float};
use tidegate::types::{Column, SqlType};

/// A schema without namespaces.
pub(super) struct Writer {
    schema: Value,
    names: HashMap<String, Value>,
}

/// A value of the writer.
#[derive(Debug)]
enum T {
    Null,
    Bool(bool),
    Number(i64),
    Float(f32),
    Double(f64),
    Bytes(Vec<u8>),
    Symbol(String),
    List(Vec<T>),
    Map(Vec<(Vec<u8>, T)>),
    Record(Vec<T>),
    /// The branch of a union with several.
    Branch(usize, Box<T>),
}

impl Writer {
    pub(super) fn new(schema: &str) -> Writer {
        let schema: Value = serde_json::from_str(schema).unwrap();
        let mut names = HashMap::new();
        collect(&schema, &mut names);
        Writer { schema, names }
    }

    /// What a payload behind its frame means.
    pub(super) fn decode(&self, mut payload: &[u8], columns: &[Column]) -> Result<Option<Vec<V>>, ()> {
        let T::Record(values) = self.read(&self.schema, &mut payload)? else { return Err(()) };
        let fields: Vec<(String, &SqlType)> = columns.iter().map(|c| (c.name.clone(), &c.ty)).collect();
        self.row(&self.schema, &values, &fields).map(Some)
    }

    fn of<'a>(&'a self, ty: &'a Value) -> &'a Value {
        match ty {
            Value::String(name) => self.names.get(name).unwrap_or(ty),
            ty => ty,
        }
    }

    fn name<'a>(&'a self, ty: &'a Value) -> &'a str {
        match self.of(ty) {
            Value::String(name) => name,
            Value::Array(_) => "union",
            other => other["type"].as_str().unwrap(),
        }
    }

    fn read(&self, ty: &Value, d: &mut &[u8]) -> Result<T, ()> {
        let ty = self.of(ty);
        Ok(match self.name(ty) {
            "null" => T::Null,
            "boolean" => T::Bool(take(d, 1)?[0] == 1),
            "int" => T::Number(i32::try_from(long(d)?).map_err(drop)?.into()),
            "long" => T::Number(long(d)?),
            "float" => T::Float(f32::from_le_bytes(take(d, 4)?.try_into().unwrap())),
            "double" => T::Double(f64::from_le_bytes(take(d, 8)?.try_into().unwrap())),
            "bytes" | "string" => T::Bytes(sized(d)?),
            "fixed" => T::Bytes(take(d, ty["size"].as_u64().unwrap() as usize)?.to_vec()),
            "enum" => {
                let symbols = ty["symbols"].as_array().unwrap();
                let at = usize::try_from(long(d)?).map_err(drop)?;
                T::Symbol(symbols.get(at).ok_or(())?.as_str().unwrap().to_owned())
            }
            "array" => {
                let mut items = vec![];
                while let Some(count) = block(d)? {
                    // Items without bytes are only in fields that no column has.
                    let is_free = self.name(&ty["items"]) == "null";
                    for _ in 0..if is_free { 0 } else { count } {
                        items.push(self.read(&ty["items"], d)?);
                    }
                }
                T::List(items)
            }
            "map" => {
                let mut entries = vec![];
                while let Some(count) = block(d)? {
                    for _ in 0..count {
                        entries.push((sized(d)?, self.read(&ty["values"], d)?));
                    }
                }
                T::Map(entries)
            }
            "record" => {
                let fields = ty["fields"].as_array().unwrap();
                T::Record(fields.iter().map(|f| self.read(&f["type"], d)).collect::<Result<_, _>>()?)
            }
            "union" => {
                let branches = ty.as_array().unwrap();
                let at = usize::try_from(long(d)?).map_err(drop)?;
                let branch = branches.get(at).ok_or(())?;
                let value = self.read(branch, d)?;
                if self.branches(ty).len() > 1 && !matches!(value, T::Null) {
                    T::Branch(at, Box::new(value))
                } else {
                    value
                }
            }
            other => panic!("no type {other}"),
        })
    }

    /// The branches of a union that are not null.
    fn branches<'a>(&'a self, ty: &'a Value) -> Vec<&'a Value> {
        ty.as_array().unwrap().iter().filter(|b| self.name(b) != "null").collect()
    }

    /// The type without null around it.
    fn plain<'a>(&'a self, ty: &'a Value) -> &'a Value {
        let ty = self.of(ty);
        if ty.is_array() && self.branches(ty).len() == 1 { self.of(self.branches(ty)[0]) } else { ty }
    }

    fn row(&self, record: &Value, values: &[T], columns: &[(String, &SqlType)]) -> Result<Vec<V>, ()> {
        let fields = record["fields"].as_array().unwrap();
        let mut out = vec![V::Null; columns.len()];
        for (at, field) in fields.iter().enumerate() {
            let place = |name: &str| {
                let exact = columns.iter().position(|(column, _)| column == name);
                exact.or_else(|| columns.iter().position(|(column, _)| *column == name.to_uppercase()))
            };
            let own = place(field["name"].as_str().unwrap());
            let later = fields[at + 1..].iter().any(|f| place(f["name"].as_str().unwrap()) == own);
            if let Some(column) = own.filter(|_| !later) {
                out[column] = self.convert(&field["type"], &values[at], columns[column].1)?;
            }
        }
        Ok(out)
    }

    fn convert(&self, ty: &Value, value: &T, to: &SqlType) -> Result<V, ()> {
        use SqlType as S;
        let ty = self.plain(ty);
        let logical = ty.get("logicalType").and_then(Value::as_str).unwrap_or_default();
        let (is_decimal, is_time) = (logical == "decimal", logical == "time-millis");
        let is_map =
            self.name(ty) == "map" || self.name(ty) == "array" && ty["items"].get("connect.internal.type").is_some();
        let accepted = match (self.name(ty), to) {
            ("int", S::Integer | S::Bigint | S::String | S::Date | S::Time | S::Timestamp) => true,
            ("long", S::Bigint | S::String | S::Timestamp) => true,
            ("float" | "double", S::Double | S::String) => true,
            ("boolean", S::Boolean | S::String) => true,
            ("string" | "enum", S::String) => true,
            ("bytes" | "fixed", S::Bytes) => !is_decimal,
            ("bytes" | "fixed", S::Decimal(..)) => is_decimal,
            ("map", S::Map(..)) => true,
            ("array", S::Map(..)) => is_map,
            ("array", S::Array(_)) => !is_map,
            ("record" | "union", S::Struct(_)) => true,
            _ => false,
        };
        if !accepted {
            return Err(());
        }
        Ok(match (value, to) {
            (T::Null, _) => V::Null,
            (T::Bool(b), S::Boolean) => V::Bool(*b),
            (T::Number(n), _) if is_time && !(0..=86_400_000).contains(n) => return Err(()),
            (T::Number(n), S::Time) => {
                V::Int(n.rem_euclid(86_400_000) + if is_time && *n == 86_400_000 { *n } else { 0 })
            }
            (T::Number(n), S::Integer | S::Bigint | S::Date | S::Timestamp) => V::Int(*n),
            (T::Float(f), S::Double) => V::Double(f64::from(*f).to_bits()),
            (T::Double(f), S::Double) => V::Double(f.to_bits()),
            (T::Bytes(b), S::Bytes) => V::Bytes(b.clone()),
            (T::Bytes(b), S::Decimal(p, s)) => decimal(b, ty["scale"].as_i64().unwrap_or(0), *p, *s)?,
            (value, S::String) => V::Text(text(value)),
            (T::List(items), S::Array(item)) => {
                V::List(items.iter().map(|v| self.convert(&ty["items"], v, item)).collect::<Result<_, _>>()?)
            }
            (T::Map(entries), S::Map(_, to)) => {
                let converted = entries.iter().map(|(k, v)| Ok((lossy(k), self.convert(&ty["values"], v, to)?)));
                V::Map(last_of_each(converted.collect::<Result<_, ()>>()?))
            }
            (T::List(entries), S::Map(_, to)) => {
                let parts = ty["items"]["fields"].as_array().unwrap();
                let at = |name: &str| parts.iter().position(|p| p["name"] == name).unwrap();
                let entry = |entry: &T| {
                    let T::Record(values) = entry else { return Err(()) };
                    let key = match &values[at("key")] {
                        T::Null => return Err(()),
                        key => text(key),
                    };
                    Ok((key, self.convert(&parts[at("value")]["type"], &values[at("value")], to)?))
                };
                V::Map(last_of_each(entries.iter().map(entry).collect::<Result<_, ()>>()?))
            }
            (T::Record(values), S::Struct(fields)) => {
                let fields: Vec<(String, &SqlType)> = fields.iter().map(|(n, ty)| (n.clone(), ty)).collect();
                V::List(self.row(ty, values, &fields)?)
            }
            (T::Branch(at, value), S::Struct(fields)) => {
                let branch = &ty.as_array().unwrap()[*at];
                let name = self.of(branch).get("name").and_then(Value::as_str).unwrap_or(self.name(branch));
                let field = |(field, to): &(String, SqlType)| match *field == name.to_uppercase() {
                    true => self.convert(branch, value, to),
                    false => Ok(V::Null),
                };
                V::List(fields.iter().map(field).collect::<Result<_, ()>>()?)
            }
            (value, to) => panic!("{value:?} into {to}"),
        })
    }
}

fn collect(ty: &Value, names: &mut HashMap<String, Value>) {
    match ty {
        Value::Array(types) => types.iter().for_each(|ty| collect(ty, names)),
        Value::Object(object) => {
            let kind = object.get("type").and_then(Value::as_str);
            if let Some(name) = object.get("name").and_then(Value::as_str)
                && kind.is_some_and(|kind| ["record", "enum", "fixed"].contains(&kind))
            {
                names.insert(name.to_owned(), ty.clone());
            }
            object.values().for_each(|part| collect(part, names));
        }
        _ => {}
    }
}

fn take<'a>(d: &mut &'a [u8], count: usize) -> Result<&'a [u8], ()> {
    let (bytes, rest) = d.split_at_checked(count).ok_or(())?;
    *d = rest;
    Ok(bytes)
}

fn long(d: &mut &[u8]) -> Result<i64, ()> {
    let mut value = 0u128;
    for at in 0..10 {
        let byte = take(d, 1)?[0];
        value |= u128::from(byte & 0x7F) << (7 * at);
        if byte < 0x80 {
            let low = value as u64;
            return Ok((low >> 1) as i64 ^ -((low & 1) as i64));
        }
    }
    Err(())
}

fn sized(d: &mut &[u8]) -> Result<Vec<u8>, ()> {
    let length = usize::try_from(long(d)?).map_err(drop)?;
    take(d, length).map(<[u8]>::to_vec)
}

fn block(d: &mut &[u8]) -> Result<Option<u64>, ()> {
    let count = long(d)?;
    if count < 0 {
        long(d)?;
    }
    match count.unsigned_abs() {
        0 => Ok(None),
        count if count > i32::MAX as u64 => Err(()),
        count => Ok(Some(count)),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn text(value: &T) -> String {
    let mut out = vec![];
    match value {
        T::Bool(b) => return b.to_string(),
        T::Number(n) => return n.to_string(),
        T::Symbol(s) => return s.clone(),
        T::Bytes(b) => return lossy(b),
        T::Float(f) => write_java_float(*f, &mut out),
        T::Double(f) => write_java_double(*f, &mut out),
        other => panic!("{other:?} as text"),
    }
    lossy(&out)
}

/// Of the entries with one key the last.
fn last_of_each(entries: Vec<(String, V)>) -> Vec<(String, V)> {
    let last = |at: usize, key: &str| entries[at + 1..].iter().all(|(later, _)| later != key);
    entries.iter().enumerate().filter(|(at, (key, _))| last(*at, key)).map(|(_, e)| e.clone()).collect()
}

fn decimal(bytes: &[u8], from: i64, precision: u8, scale: i8) -> Result<V, ()> {
    let first = bytes.first().ok_or(())?;
    // Sixteen bytes are enough for what the tests write; more have to be signs.
    let sign = if first & 0x80 != 0 { 0xFF } else { 0 };
    let more = bytes.len().saturating_sub(16);
    if bytes[..more].iter().any(|b| *b != sign) {
        return Err(());
    }
    let mut wide = [sign; 16];
    wide[16 - (bytes.len() - more)..].copy_from_slice(&bytes[more..]);
    if more > 0 && (wide[0] ^ sign) & 0x80 != 0 {
        return Err(());
    }
    let text = format!("{}e{}", i128::from_be_bytes(wide), -from);
    let unscaled = DecimalText::parse(text.as_bytes()).and_then(|text| text.unscaled(precision, scale)).ok_or(())?;
    Ok(V::Decimal(unscaled.to_string()))
}
