//! AVRO: schemas and payloads, as the specification describes them.

use super::{Referenced, decimal, double, json_double, lookup, scalar_text, whole};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A schema with the named types that it defines or refers to.
#[derive(Debug)]
pub(crate) struct Avro {
    root: Type,
    named: BTreeMap<String, Named>,
}

/// A type; named ones are looked up, so that a record can hold itself.
#[derive(Clone, Debug)]
enum Type {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Decimal { scale: u32 },
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    Named(String),
}

#[derive(Clone, Debug)]
enum Named {
    Record { fields: Vec<(String, Type)>, entry: bool },
    Enum(Vec<String>),
    Fixed { size: usize, scale: Option<u32> },
}

/// Records of this name are the entries of a map whose keys are not strings; `connect.internal.type` says so, too.
const ENTRY: &str = "MapEntry";

impl Avro {
    pub(super) fn parse(text: &str, references: &[Referenced]) -> Result<Avro, String> {
        let mut avro = Avro { root: Type::Null, named: BTreeMap::new() };
        for reference in references {
            avro.read(&tree_of(&reference.text)?, "")?;
        }
        avro.root = avro.read(&tree_of(text)?, "")?;
        Ok(avro)
    }

    fn read(&mut self, schema: &Value, namespace: &str) -> Result<Type, String> {
        match schema {
            Value::String(name) => Ok(primitive(name).unwrap_or_else(|| Type::Named(full_name(name, namespace)))),
            Value::Array(branches) => {
                let branches: Result<_, _> = branches.iter().map(|b| self.read(b, namespace)).collect();
                Ok(Type::Union(branches?))
            }
            Value::Object(object) => self.read_object(object, namespace),
            other => Err(format!("{other} is no Avro schema")),
        }
    }

    fn read_object(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<Type, String> {
        let decimal = object.get("logicalType").is_some_and(|l| l == "decimal");
        let scale = object.get("scale").and_then(Value::as_u64).unwrap_or(0) as u32;
        let part = |name: &str| object.get(name).ok_or_else(|| format!("an Avro schema has no '{name}'"));
        let kind = match part("type")? {
            Value::String(kind) => kind.as_str(),
            nested => return self.read(nested, namespace),
        };
        match kind {
            "array" => Ok(Type::Array(Box::new(self.read(part("items")?, namespace)?))),
            "map" => Ok(Type::Map(Box::new(self.read(part("values")?, namespace)?))),
            "bytes" if decimal => Ok(Type::Decimal { scale }),
            "record" | "error" | "enum" | "fixed" => {
                let own = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
                let name = full_name(part("name")?.as_str().unwrap_or_default(), own);
                let inner = name.rsplit_once('.').map_or("", |(before, _)| before).to_owned();
                let named = match kind {
                    "enum" => Named::Enum(part("symbols")?.as_array().into_iter().flatten().map(scalar_text).collect()),
                    "fixed" => {
                        let size = part("size")?.as_u64().ok_or("the size of a fixed type is no number")? as usize;
                        Named::Fixed { size, scale: decimal.then_some(scale) }
                    }
                    _ => {
                        let marked = object.get("connect.internal.type").is_some_and(|t| t == ENTRY);
                        let entry = marked || name == "io.confluent.connect.avro.MapEntry";
                        Named::Record { fields: self.read_fields(part("fields")?, &inner)?, entry }
                    }
                };
                self.named.insert(name.clone(), named);
                Ok(Type::Named(name))
            }
            other => Ok(primitive(other).unwrap_or_else(|| Type::Named(full_name(other, namespace)))),
        }
    }

    fn read_fields(&mut self, fields: &Value, namespace: &str) -> Result<Vec<(String, Type)>, String> {
        let fields = fields.as_array().ok_or("the fields of a record are no list")?;
        let read = |field: &Value| {
            let name = field["name"].as_str().ok_or("a field has no name")?.to_owned();
            Ok((name, self.read(&field["type"], namespace)?))
        };
        fields.iter().map(read).collect()
    }

    fn named(&self, name: &str) -> Result<&Named, String> {
        self.named.get(name).ok_or_else(|| format!("the Avro type {name} is not defined"))
    }

    /// The items of an array that stands for a map: the types of its keys and of its values.
    fn entry(&self, items: &Type) -> Option<&[(String, Type)]> {
        let Type::Named(name) = items else { return None };
        match self.named.get(name)? {
            Named::Record { fields, entry: true } => Some(fields),
            _ => None,
        }
    }

    pub(super) fn encode(&self, tree: &Value, out: &mut Vec<u8>) -> Result<(), String> {
        self.write(&self.root, tree, out)
    }

    fn write(&self, ty: &Type, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
        match ty {
            Type::Union(branches) => return self.write_union(branches, value, out),
            Type::Null if value.is_null() => {}
            _ if value.is_null() => return Err(format!("NULL is no {ty:?}")),
            Type::Null => return Err(format!("{value} is not NULL")),
            Type::Boolean => out.push(u8::from(value.as_bool().ok_or_else(|| format!("{value} is no boolean"))?)),
            Type::Int => write_long(i64::from(int(value)?), out),
            Type::Long => write_long(whole(value)?, out),
            Type::Float => out.extend((double(value)? as f32).to_le_bytes()),
            Type::Double => out.extend(double(value)?.to_le_bytes()),
            Type::String => write_bytes(scalar_text(value).as_bytes(), out),
            Type::Bytes => write_bytes(&base64_bytes(value)?, out),
            Type::Decimal { scale } => {
                write_bytes(&decimal::to_bytes(decimal::unscaled(&scalar_text(value), *scale)?), out);
            }
            Type::Array(items) => match self.entry(items) {
                Some(fields) => self.write_entries(fields, value, out)?,
                None => {
                    let all = value.as_array().ok_or_else(|| format!("{value} is no array"))?;
                    write_block(all.len(), out, |out| all.iter().try_for_each(|item| self.write(items, item, out)))?;
                }
            },
            Type::Map(values) => {
                let all = value.as_object().ok_or_else(|| format!("{value} is no map"))?;
                write_block(all.len(), out, |out| {
                    all.iter().try_for_each(|(key, item)| {
                        write_bytes(key.as_bytes(), out);
                        self.write(values, item, out)
                    })
                })?;
            }
            Type::Named(name) => self.write_named(name, value, out)?,
        }
        Ok(())
    }

    fn write_union(&self, branches: &[Type], value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
        let mut why = format!("the union has no branch for {value}");
        for (n, branch) in branches.iter().enumerate() {
            if matches!(branch, Type::Null) != value.is_null() {
                continue;
            }
            let mut written = Vec::new();
            match self.write(branch, value, &mut written) {
                Ok(()) => {
                    write_long(n as i64, out);
                    out.extend(written);
                    return Ok(());
                }
                Err(e) => why = e,
            }
        }
        Err(why)
    }

    fn write_entries(&self, fields: &[(String, Type)], value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
        let all = value.as_object().ok_or_else(|| format!("{value} is no map"))?;
        write_block(all.len(), out, |out| {
            all.iter().try_for_each(|(key, item)| {
                let of = |name: &str| if name == "key" { json!(key) } else { item.clone() };
                fields.iter().try_for_each(|(name, ty)| self.write(ty, &of(name), out))
            })
        })
    }

    fn write_named(&self, name: &str, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
        match self.named(name)? {
            Named::Record { fields, .. } => {
                let object = value.as_object().ok_or_else(|| format!("{value} is no record"))?;
                for (field, ty) in fields {
                    let part = lookup(object, field).unwrap_or(&Value::Null);
                    self.write(ty, part, out).map_err(|e| format!("{field}: {e}"))?;
                }
            }
            Named::Enum(symbols) => {
                let text = scalar_text(value);
                let n =
                    symbols.iter().position(|s| *s == text).ok_or_else(|| format!("{name} has no symbol {text}"))?;
                write_long(n as i64, out);
            }
            Named::Fixed { size, scale: Some(scale) } => {
                let bytes = decimal::unscaled(&scalar_text(value), *scale)?.to_be_bytes();
                let fill = if bytes[0] & 0x80 == 0 { 0 } else { 0xFF };
                out.extend((0..*size).map(|i| if i + 16 >= *size { bytes[i + 16 - size] } else { fill }));
            }
            Named::Fixed { size, scale: None } => {
                let bytes = base64_bytes(value)?;
                if bytes.len() != *size {
                    return Err(format!("{name} holds {size} bytes, not {}", bytes.len()));
                }
                out.extend(bytes);
            }
        }
        Ok(())
    }

    pub(super) fn decode(&self, payload: &[u8]) -> Result<Value, String> {
        let mut rest = payload;
        let tree = self.take(&self.root, &mut rest)?;
        match rest {
            [] => Ok(tree),
            _ => Err(format!("{} bytes follow the value", rest.len())),
        }
    }

    fn take(&self, ty: &Type, d: &mut &[u8]) -> Result<Value, String> {
        Ok(match ty {
            Type::Null => Value::Null,
            Type::Boolean => json!(take_chunk::<1>(d)? != [0]),
            Type::Int => json!(i32::try_from(take_long(d)?).map_err(|_| "an int has more than 32 bits")?),
            Type::Long => json!(take_long(d)?),
            Type::Float => json_double(f64::from(f32::from_le_bytes(take_chunk(d)?))),
            Type::Double => json_double(f64::from_le_bytes(take_chunk(d)?)),
            Type::String => json!(std::str::from_utf8(take_bytes(d)?).map_err(|e| e.to_string())?),
            Type::Bytes => json!(STANDARD.encode(take_bytes(d)?)),
            Type::Decimal { scale } => decimal::tree(decimal::from_bytes(take_bytes(d)?)?, *scale),
            Type::Array(items) => match self.entry(items) {
                Some(fields) => self.take_entries(fields, d)?,
                None => {
                    let mut all = Vec::new();
                    take_blocks(d, |d| {
                        all.push(self.take(items, d)?);
                        Ok(())
                    })?;
                    Value::Array(all)
                }
            },
            Type::Map(values) => {
                let mut all = Map::new();
                take_blocks(d, |d| {
                    let key = std::str::from_utf8(take_bytes(d)?).map_err(|e| e.to_string())?.to_owned();
                    all.insert(key, self.take(values, d)?);
                    Ok(())
                })?;
                Value::Object(all)
            }
            Type::Union(branches) => {
                let n = take_long(d)?;
                let branch = usize::try_from(n).ok().and_then(|n| branches.get(n));
                self.take(branch.ok_or_else(|| format!("the union has no branch {n}"))?, d)?
            }
            Type::Named(name) => self.take_named(name, d)?,
        })
    }

    fn take_entries(&self, fields: &[(String, Type)], d: &mut &[u8]) -> Result<Value, String> {
        let mut all = Map::new();
        take_blocks(d, |d| {
            let (mut key, mut item) = (Value::Null, Value::Null);
            for (name, ty) in fields {
                let part = self.take(ty, d)?;
                if name == "key" { key = part } else { item = part }
            }
            all.insert(scalar_text(&key), item);
            Ok(())
        })?;
        Ok(Value::Object(all))
    }

    fn take_named(&self, name: &str, d: &mut &[u8]) -> Result<Value, String> {
        Ok(match self.named(name)? {
            Named::Record { fields, .. } => {
                let fields = fields.iter().map(|(field, ty)| Ok((field.clone(), self.take(ty, d)?)));
                Value::Object(fields.collect::<Result<_, String>>()?)
            }
            Named::Enum(symbols) => {
                let n = take_long(d)?;
                let symbol = usize::try_from(n).ok().and_then(|n| symbols.get(n));
                json!(symbol.ok_or_else(|| format!("{name} has no symbol {n}"))?)
            }
            Named::Fixed { size, scale } => {
                let bytes = take_exactly(d, *size)?;
                match scale {
                    Some(scale) => decimal::tree(decimal::from_bytes(bytes)?, *scale),
                    None => json!(STANDARD.encode(bytes)),
                }
            }
        })
    }
}

/// A schema that is a bare name may stand without quotes.
fn tree_of(text: &str) -> Result<Value, String> {
    match primitive(text.trim()) {
        Some(_) => Ok(json!(text.trim())),
        None => serde_json::from_str(text).map_err(|e| format!("an Avro schema is no JSON: {e}")),
    }
}

fn primitive(name: &str) -> Option<Type> {
    Some(match name {
        "null" => Type::Null,
        "boolean" => Type::Boolean,
        "int" => Type::Int,
        "long" => Type::Long,
        "float" => Type::Float,
        "double" => Type::Double,
        "bytes" => Type::Bytes,
        "string" => Type::String,
        _ => return None,
    })
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn int(value: &Value) -> Result<i32, String> {
    i32::try_from(whole(value)?).map_err(|_| format!("{value} has more than 32 bits"))
}

fn base64_bytes(value: &Value) -> Result<Vec<u8>, String> {
    let text = value.as_str().ok_or_else(|| format!("{value} is no base64"))?;
    STANDARD.decode(text).map_err(|e| format!("'{text}' is no base64: {e}"))
}

fn write_long(n: i64, out: &mut Vec<u8>) {
    let mut rest = ((n << 1) ^ (n >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

/// All items in one block, then the empty block that ends the list.
fn write_block(
    count: usize,
    out: &mut Vec<u8>,
    items: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
) -> Result<(), String> {
    if count > 0 {
        write_long(count as i64, out);
        items(out)?;
    }
    write_long(0, out);
    Ok(())
}

fn take_exactly<'a>(d: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, rest) = d.split_at_checked(count).ok_or("the payload is too short")?;
    *d = rest;
    Ok(taken)
}

fn take_chunk<const N: usize>(d: &mut &[u8]) -> Result<[u8; N], String> {
    take_exactly(d, N)?.try_into().map_err(|_| "the payload is too short".to_owned())
}

fn take_long(d: &mut &[u8]) -> Result<i64, String> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let [byte] = take_chunk::<1>(d)?;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    Err("a number has more than ten bytes".to_owned())
}

fn take_bytes<'a>(d: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let count = usize::try_from(take_long(d)?).map_err(|_| "a length is negative")?;
    take_exactly(d, count)
}

/// Blocks of items up to the empty one; a negative count is followed by the size of the block in bytes.
fn take_blocks(d: &mut &[u8], mut item: impl FnMut(&mut &[u8]) -> Result<(), String>) -> Result<(), String> {
    loop {
        let mut count = take_long(d)?;
        if count == 0 {
            return Ok(());
        }
        if count < 0 {
            take_long(d)?;
            count = -count;
        }
        for _ in 0..count {
            item(d)?;
        }
    }
}
