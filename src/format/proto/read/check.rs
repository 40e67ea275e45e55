//! Fields that no column takes: they have to be valid all the same, because a reader of the whole message would refuse it
//! otherwise (protobuf-java's parser: text that is no UTF-8 in proto3, messages that are none).
//!
//! ```text
//! message M { int32 a = 1; M next = 2; string s = 3; }    read of A alone:  each `next` is walked, each `s` is UTF-8
//! ```

use crate::format::proto::infer::{Kind, kind};
use crate::format::proto::schema::{Field, File, Message, Scalar, Syntax, Type};
use crate::format::proto::wire::{Wire, each};
use std::collections::HashMap;

/// Limit of messages in messages: protobuf-java's (`CodedInputStream.DEFAULT_RECURSION_LIMIT`).
const DEPTH_MAX: usize = 100;

/// Checks of one plan.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Those that fields refer to, and those of the messages below.
    fields: Vec<Check>,
    messages: Vec<Vec<(u32, Check)>>,
    places: HashMap<String, usize>,
    /// Messages whose checks are not made yet.
    open: Vec<(usize, String)>,
}

/// What a field has to be.
#[derive(Clone, Copy, Debug)]
enum Check {
    Text,
    /// A message of this index.
    Message(usize),
}

impl Checks {
    /// Enters a field of a message; `None` if every value of it is valid.
    pub(super) fn add(&mut self, file: &File, message: &Message, field: &Field) -> Option<usize> {
        let check = self.of(file, message, field)?;
        self.fields.push(check);
        // Messages may be chained deeper than a stack is.
        while let Some((place, message)) = self.open.pop() {
            let Some(message) = file.message(&message) else { continue };
            let fields = message.fields.iter();
            self.messages[place] = fields.filter_map(|f| Some((f.number, self.of(file, message, f)?))).collect();
        }
        Some(self.fields.len() - 1)
    }

    fn of(&mut self, file: &File, message: &Message, field: &Field) -> Option<Check> {
        match (kind(file, field)?, &field.ty) {
            (Kind::Scalar(Scalar::String), _) if message.syntax != Syntax::Proto2 => Some(Check::Text),
            (Kind::Message(..) | Kind::Entry(_), Type::Message(name)) => Some(self.message(name)),
            _ => None,
        }
    }

    fn message(&mut self, name: &str) -> Check {
        if let Some(place) = self.places.get(name) {
            return Check::Message(*place);
        }
        let place = self.messages.len();
        self.messages.push(vec![]);
        self.places.insert(name.to_owned(), place);
        self.open.push((place, name.to_owned()));
        Check::Message(place)
    }

    /// Whether a value of the field of this index is valid.
    pub(super) fn is_valid(&self, check: usize, wire: Wire<'_>) -> bool {
        self.holds(self.fields[check], wire, 1)
    }

    fn holds(&self, check: Check, wire: Wire<'_>, depth: usize) -> bool {
        match (check, wire) {
            (Check::Text, Wire::Bytes(b)) => b.is_ascii() || simdutf8::basic::from_utf8(b).is_ok(),
            (Check::Message(place), Wire::Bytes(b)) => {
                let fields = &self.messages[place];
                depth < DEPTH_MAX
                    && each(b, |number, wire| {
                        let mut own = fields.iter().filter(|(n, _)| *n == number);
                        own.all(|(_, check)| self.holds(*check, wire, depth + 1)).then_some(())
                    })
                    .is_some()
            }
            _ => true,
        }
    }
}
