//! PROTOBUF messages read: the tree of a payload by the description of its message.

use super::protobuf::{Field, File, Label, Scalar, Type, is_wrapper, wire_type};
use super::{decimal, json_double, scalar_text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::NaiveDate;
use serde_json::{Map, Value, json};

/// A field of a payload.
#[derive(Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    Eight([u8; 8]),
    Four([u8; 4]),
    Bytes(&'a [u8]),
}

impl File {
    /// The message that the index in front of the payload names.
    pub(super) fn decode_indexed(&self, mut d: &[u8]) -> Result<Value, String> {
        let unzigzag = |n: u64| (n >> 1) as usize;
        let count = unzigzag(read_varint(&mut d)?);
        let path: Vec<usize> = match count {
            0 => vec![0],
            _ => (0..count).map(|_| Ok(unzigzag(read_varint(&mut d)?))).collect::<Result<_, String>>()?,
        };
        let (mut names, mut name) = (&self.roots, None);
        for n in path {
            let found = names.get(n).ok_or_else(|| format!("the schema has no message {n}"))?;
            (names, name) = (&self.message(found)?.nested, Some(found));
        }
        self.decode(name.ok_or("the index of the message is empty")?, d)
    }

    /// The tree of a message: absent fields are their default, or NULL where they can be told from it.
    pub(crate) fn decode(&self, name: &str, payload: &[u8]) -> Result<Value, String> {
        let message = self.message(name)?;
        let found = read(payload)?;
        let mut object = Map::new();
        for (n, oneof) in message.oneofs.iter().enumerate() {
            let mut taken = Map::new();
            for field in message.fields.iter().filter(|f| f.oneof == Some(n)) {
                taken.insert(field.name.clone(), self.field(field, &found)?);
            }
            let set = taken.values().any(|value| !value.is_null());
            object.insert(format!("{oneof}_{n}"), if set { Value::Object(taken) } else { Value::Null });
        }
        for field in message.fields.iter().filter(|f| f.oneof.is_none()) {
            object.insert(field.name.clone(), self.field(field, &found)?);
        }
        Ok(Value::Object(object))
    }

    fn field(&self, field: &Field, found: &[(u64, Wire<'_>)]) -> Result<Value, String> {
        let values: Vec<Wire<'_>> = found.iter().filter(|(n, _)| *n == field.number).map(|(_, v)| *v).collect();
        match (&field.ty, field.label) {
            (Type::Map(key, item), _) => self.entries(&values, key, item),
            (Type::Message(name), Label::Repeated) if self.is_entry(name) => {
                // An ordinary message, whose value may be repeated.
                let mut object = Map::new();
                for value in values {
                    let Wire::Bytes(entry) = value else { return Err("an entry of a map is no message".to_owned()) };
                    let (found, fields) = (read(entry)?, &self.message(name)?.fields);
                    let (key, value) = (self.field(&fields[0], &found)?, self.field(&fields[1], &found)?);
                    object.insert(scalar_text(&key), value);
                }
                Ok(Value::Object(object))
            }
            (ty, Label::Repeated) => {
                let mut all = Vec::new();
                for value in values {
                    match value {
                        Wire::Bytes(packed) if ty.is_packable() => self.unpack(ty, packed, &mut all)?,
                        value => all.push(self.one(ty, field.scale, value)?),
                    }
                }
                Ok(Value::Array(all))
            }
            (ty, label) => match values.last() {
                Some(value) => self.one(ty, field.scale, *value),
                None if label == Label::Plain => Ok(self.default_of(ty)),
                None => Ok(Value::Null),
            },
        }
    }

    fn entries(&self, values: &[Wire<'_>], key: &Type, item: &Type) -> Result<Value, String> {
        let mut object = Map::new();
        for value in values {
            let Wire::Bytes(entry) = value else { return Err("an entry of a map is no message".to_owned()) };
            let (mut k, mut v) = (self.default_of(key), self.default_of(item));
            for (n, value) in read(entry)? {
                match n {
                    1 => k = self.one(key, None, value)?,
                    2 => v = self.one(item, None, value)?,
                    _ => {}
                }
            }
            object.insert(scalar_text(&k), v);
        }
        Ok(Value::Object(object))
    }

    fn unpack(&self, ty: &Type, mut packed: &[u8], all: &mut Vec<Value>) -> Result<(), String> {
        while !packed.is_empty() {
            let value = match wire_type(ty) {
                1 => Wire::Eight(take(&mut packed)?),
                5 => Wire::Four(take(&mut packed)?),
                _ => Wire::Number(read_varint(&mut packed)?),
            };
            all.push(self.one(ty, None, value)?);
        }
        Ok(())
    }

    fn default_of(&self, ty: &Type) -> Value {
        match ty {
            Type::Scalar(Scalar::Bool) => json!(false),
            Type::Scalar(Scalar::String | Scalar::Bytes) => json!(""),
            Type::Scalar(Scalar::Double | Scalar::Float) => json!(0.0),
            Type::Scalar(_) => json!(0),
            Type::Enum(name) => self.symbol(name, 0),
            Type::Message(_) | Type::Map(..) => Value::Null,
        }
    }

    fn symbol(&self, name: &str, number: i64) -> Value {
        let found = self.enums[name].values.iter().find(|(_, n)| *n == number);
        let short = name.rsplit('.').next().unwrap_or(name);
        json!(found.map_or_else(|| format!("UNKNOWN_ENUM_VALUE_{short}_{number}"), |(symbol, _)| symbol.clone()))
    }

    fn one(&self, ty: &Type, scale: Option<u32>, value: Wire<'_>) -> Result<Value, String> {
        Ok(match (ty, value) {
            (Type::Message(name), Wire::Bytes(payload)) => self.inner(name, scale, payload)?,
            (Type::Enum(name), Wire::Number(n)) => self.symbol(name, i64::from(n as i32)),
            (Type::Scalar(scalar), value) => match (scalar, value) {
                (Scalar::Bool, Wire::Number(n)) => json!(n != 0),
                (Scalar::Int32, Wire::Number(n)) => json!(n as i32),
                (Scalar::Uint32, Wire::Number(n)) => json!(n as u32),
                (Scalar::Int64 | Scalar::Uint64, Wire::Number(n)) => json!(n as i64),
                (Scalar::Sint32 | Scalar::Sint64, Wire::Number(n)) => json!((n >> 1) as i64 ^ -((n & 1) as i64)),
                (Scalar::Double, Wire::Eight(b)) => json_double(f64::from_le_bytes(b)),
                (Scalar::Fixed64 | Scalar::Sfixed64, Wire::Eight(b)) => json!(i64::from_le_bytes(b)),
                (Scalar::Float, Wire::Four(b)) => json_double(f64::from(f32::from_le_bytes(b))),
                (Scalar::Fixed32, Wire::Four(b)) => json!(u32::from_le_bytes(b)),
                (Scalar::Sfixed32, Wire::Four(b)) => json!(i32::from_le_bytes(b)),
                (Scalar::String, Wire::Bytes(b)) => json!(std::str::from_utf8(b).map_err(|e| e.to_string())?),
                (Scalar::Bytes, Wire::Bytes(b)) => json!(STANDARD.encode(b)),
                _ => return Err(format!("a {scalar:?} has another wire type")),
            },
            _ => return Err(format!("a {ty:?} has another wire type")),
        })
    }

    /// A message inside of another: a scalar where it stands for one.
    fn inner(&self, name: &str, scale: Option<u32>, payload: &[u8]) -> Result<Value, String> {
        let tree = self.decode(name, payload)?;
        let number = |field: &str| tree[field].as_i64().unwrap_or(0);
        Ok(match name {
            "google.protobuf.Timestamp" => json!(number("seconds") * 1000 + number("nanos") / 1_000_000),
            "google.type.TimeOfDay" => {
                let seconds = (number("hours") * 60 + number("minutes")) * 60 + number("seconds");
                json!(seconds * 1000 + number("nanos") / 1_000_000)
            }
            "google.type.Date" => {
                let (month, day) = (number("month") as u32, number("day") as u32);
                let date = NaiveDate::from_ymd_opt(number("year") as i32, month, day).ok_or("a date does not exist")?;
                json!(date.signed_duration_since(NaiveDate::default()).num_days())
            }
            "confluent.type.Decimal" => {
                let bytes = STANDARD.decode(scalar_text(&tree["value"])).map_err(|e| e.to_string())?;
                let scale = scale.unwrap_or(number("scale") as u32);
                decimal::tree(decimal::from_bytes(&bytes)?, scale)
            }
            _ if is_wrapper(name) => tree["value"].clone(),
            _ => tree,
        })
    }
}

fn read_varint(d: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = take::<1>(d)?;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number has more than ten bytes".to_owned())
}

fn take<const N: usize>(d: &mut &[u8]) -> Result<[u8; N], String> {
    let (taken, rest) = d.split_first_chunk::<N>().ok_or("the payload is too short")?;
    *d = rest;
    Ok(*taken)
}

fn read(mut d: &[u8]) -> Result<Vec<(u64, Wire<'_>)>, String> {
    let mut out = Vec::new();
    while !d.is_empty() {
        let tag = read_varint(&mut d)?;
        let value = match tag & 7 {
            0 => Wire::Number(read_varint(&mut d)?),
            1 => Wire::Eight(take(&mut d)?),
            5 => Wire::Four(take(&mut d)?),
            2 => {
                let length = read_varint(&mut d)? as usize;
                let (bytes, rest) = d.split_at_checked(length).ok_or("the payload is too short")?;
                d = rest;
                Wire::Bytes(bytes)
            }
            other => return Err(format!("the wire type {other} is not known")),
        };
        out.push((tag >> 3, value));
    }
    Ok(out)
}
