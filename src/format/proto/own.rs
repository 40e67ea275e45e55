//! The message that columns are when no schema says otherwise: fields numbered from 1, as `translate` writes them.
//!
//! ```text
//! A INT, S STRUCT<X STRING>    ->    message 1 { int32 A = 1; message 2 { string X = 1; } S = 2; }
//! ```
//!
//! Here names may be anything, because no text is made of them: nothing but PROTOBUF_NOSR uses such a message.

use super::resolve;
use super::schema::{Field, File, Label, Message, Syntax, Type};
use super::translate::wire_type;
use crate::catalog::Nullable;
use crate::types::SqlType;

/// The files of the types that columns have besides scalars.
const IMPORTS: &str = r#"syntax = "proto3";
    import "google/protobuf/wrappers.proto"; import "google/protobuf/timestamp.proto";
    import "google/type/date.proto"; import "google/type/timeofday.proto"; import "confluent/type/decimal.proto";"#;

/// A schema of one message with these columns, and the message's name.
pub(super) fn schema(columns: &[(&str, &SqlType)], nullable: Nullable) -> Result<(File, String), String> {
    let mut maker = Maker { file: resolve::parse(IMPORTS, &[])?, nullable, count: 0 };
    let name = maker.message(columns, false)?;
    Ok((maker.file, name))
}

struct Maker {
    file: File,
    nullable: Nullable,
    count: usize,
}

impl Maker {
    /// Enters a message, and returns its name.
    fn message(&mut self, fields: &[(&str, &SqlType)], map_entry: bool) -> Result<String, String> {
        self.count += 1;
        let name = self.count.to_string();
        let mut message = Message { name: name.clone(), map_entry, syntax: Syntax::Proto3, ..Message::default() };
        for (i, (field, ty)) in fields.iter().enumerate() {
            let (repeated, ty) = self.ty(ty)?;
            let label = match self.nullable {
                _ if repeated => Label::Repeated,
                Nullable::Optional if !map_entry => Label::Optional,
                _ => Label::Implicit,
            };
            let (name, number) = ((*field).to_owned(), i as u32 + 1);
            message.fields.push(Field { name, number, label, ty, oneof: None, packed: None, params: vec![] });
        }
        self.file.messages.insert(name.clone(), message);
        Ok(name)
    }

    /// The type of a field, and whether it is repeated.
    fn ty(&mut self, ty: &SqlType) -> Result<(bool, Type), String> {
        Ok(match ty {
            SqlType::Array(item) => match self.ty(item)? {
                (false, item) => (true, item),
                (true, _) => return Err("PROTOBUF has no ARRAY of ARRAY or MAP".to_owned()),
            },
            SqlType::Map(key, value) => (true, Type::Message(self.message(&[("key", key), ("value", value)], true)?)),
            SqlType::Struct(fields) => {
                let fields: Vec<_> = fields.iter().map(|(name, ty)| (name.as_str(), ty)).collect();
                (false, Type::Message(self.message(&fields, false)?))
            }
            SqlType::Decimal(..) => (false, Type::Message(super::known::DECIMAL.to_owned())),
            SqlType::Date => (false, Type::Message(super::known::DATE.to_owned())),
            SqlType::Time => (false, Type::Message(super::known::TIME.to_owned())),
            SqlType::Timestamp => (false, Type::Message(super::known::TIMESTAMP.to_owned())),
            scalar => match (wire_type(scalar), self.nullable) {
                (Some((_, wrapper)), Nullable::Wrapper) => (false, Type::Message(wrapper.to_owned())),
                (Some((scalar, _)), _) => (false, Type::Scalar(scalar)),
                (None, _) => return Err(format!("PROTOBUF has no type for {ty}")),
            },
        })
    }
}
