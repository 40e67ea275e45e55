//! `.proto` texts to trees (Protocol Buffers Language Specification, proto2, proto3 and editions).
//!
//! ```text
//! syntax = "proto3"; message A { repeated int32 n = 1; }    ->    Source { messages: [A { fields: [n: repeated int32 = 1] }] }
//! ```
//!
//! Services, extensions and most options are read over: no payload that a column is made of depends on them. Keywords may be names of
//! fields and types, so that what a word means is decided by what follows it. Types stay names; `resolve` links them.

use super::lexer::{Token, tokens};
use super::options::Options;
use super::parser::{NESTING_MAX, Parser, Read};
use crate::format::proto::schema::{Enum, Field, Label, Message, Scalar, Source, Syntax, Type};

/// The largest field number of the wire format.
const NUMBER_MAX: u64 = (1 << 29) - 1;

/// Reads one file.
pub(in crate::format::proto) fn read(text: &str) -> Read<Source> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, source: Source::default(), implicit: false };
    parser.file()?;
    Ok(parser.source)
}

impl Parser {
    fn file(&mut self) -> Read<()> {
        while let Some(token) = self.peek() {
            let Token::Word(word) = token.clone() else {
                if self.take(b';') {
                    continue;
                }
                return self.expected("a definition");
            };
            self.definition(&word)?;
        }
        Ok(())
    }

    fn definition(&mut self, word: &str) -> Read<()> {
        match word {
            "syntax" | "edition" => self.syntax(word == "edition"),
            "package" => {
                self.at += 1;
                self.source.package = self.path()?;
                self.expect(b';')
            }
            "import" => {
                self.at += 1;
                if self.is_word(0, "public") || self.is_word(0, "weak") {
                    self.at += 1;
                }
                let import = self.text()?;
                self.source.imports.push(import);
                self.expect(b';')
            }
            "option" => {
                let options = self.option_statement()?;
                self.implicit |= options.field_presence.as_deref() == Some("IMPLICIT");
                Ok(())
            }
            "message" => {
                let message = self.message(0)?;
                self.source.order.push(message.name.clone());
                self.source.messages.push(message);
                Ok(())
            }
            "enum" => {
                let found = self.enumeration()?;
                self.source.order.push(found.name.clone());
                self.source.enums.push(found);
                Ok(())
            }
            "extend" | "service" => {
                self.at += 1;
                self.path()?;
                self.braces()
            }
            _ => self.expected("a definition"),
        }
    }

    fn syntax(&mut self, edition: bool) -> Read<()> {
        self.at += 1;
        self.expect(b'=')?;
        let text = self.text()?;
        self.source.syntax = match (edition, text.as_str()) {
            (true, _) => Syntax::Edition,
            (false, "proto2") => Syntax::Proto2,
            (false, "proto3") => Syntax::Proto3,
            _ => return Err(format!("syntax \"{text}\" is not known; there are proto2 and proto3")),
        };
        self.expect(b';')
    }

    /// Reads over `{ ... }` with all that is inside.
    fn braces(&mut self) -> Read<()> {
        self.expect(b'{')?;
        let mut open = 1;
        while open > 0 {
            match self.next() {
                Some(Token::Sign(b'{')) => open += 1,
                Some(Token::Sign(b'}')) => open -= 1,
                Some(_) => {}
                None => return self.expected("`}`"),
            }
        }
        Ok(())
    }

    /// Reads over everything up to the next `;`.
    fn statement(&mut self) -> Read<()> {
        loop {
            match self.next() {
                Some(Token::Sign(b';')) => return Ok(()),
                Some(Token::Sign(b'{')) => {
                    self.at -= 1;
                    self.braces()?;
                }
                Some(_) => {}
                None => return self.expected("`;`"),
            }
        }
    }

    fn message(&mut self, depth: usize) -> Read<Message> {
        self.at += 1;
        let mut message = Message { name: self.word()?, ..Message::default() };
        self.body(&mut message, depth)?;
        Ok(message)
    }

    /// What is between the braces of a message or a group.
    fn body(&mut self, message: &mut Message, depth: usize) -> Read<()> {
        if depth == NESTING_MAX {
            return Err(format!("messages are nested more than {NESTING_MAX} deep"));
        }
        self.expect(b'{')?;
        while !self.take(b'}') {
            if self.take(b';') {
                continue;
            }
            self.element(message, depth)?;
        }
        Ok(())
    }

    fn element(&mut self, message: &mut Message, depth: usize) -> Read<()> {
        let named = matches!(self.ahead(1), Some(Token::Word(_)));
        let block = named && self.ahead(2) == Some(&Token::Sign(b'{'));
        match self.peek() {
            Some(Token::Word(word)) if block && word == "message" => {
                let nested = self.message(depth + 1)?;
                message.messages.push(nested);
                Ok(())
            }
            Some(Token::Word(word)) if block && word == "enum" => {
                let nested = self.enumeration()?;
                message.enums.push(nested);
                Ok(())
            }
            Some(Token::Word(word)) if block && word == "oneof" => self.oneof(message, depth),
            Some(Token::Word(word)) if word == "option" && !self.field_follows() => self.option_statement().map(drop),
            Some(Token::Word(word)) if word == "extend" && !self.field_follows() => {
                self.at += 1;
                self.path()?;
                self.braces()
            }
            Some(Token::Word(word)) if matches!(&**word, "reserved" | "extensions") && !self.field_follows() => {
                self.statement()
            }
            _ => self.field(message, None, depth),
        }
    }

    /// Whether what begins here reads `type name = number`, so that its first word is a type.
    fn field_follows(&self) -> bool {
        matches!(self.ahead(1), Some(Token::Word(_)))
            && self.ahead(2) == Some(&Token::Sign(b'='))
            && matches!(self.ahead(3), Some(Token::Integer(_)))
            && !self.is_word(0, "option")
    }

    fn oneof(&mut self, message: &mut Message, depth: usize) -> Read<()> {
        self.at += 1;
        let name = self.word()?;
        message.oneofs.push(name);
        let index = message.oneofs.len() - 1;
        self.expect(b'{')?;
        while !self.take(b'}') {
            if self.take(b';') {
                continue;
            }
            match self.is_word(0, "option") && !self.field_follows() {
                true => drop(self.option_statement()?),
                false => self.field(message, Some(index), depth)?,
            }
        }
        Ok(())
    }

    fn label(&mut self, oneof: Option<usize>) -> Label {
        let label = match self.peek() {
            // Also where a dot follows: that of an absolute name, as in `repeated .p.A x = 1;`.
            Some(Token::Word(word)) => match word.as_str() {
                "optional" => Some(Label::Optional),
                "required" => Some(Label::Required),
                "repeated" => Some(Label::Repeated),
                _ => None,
            },
            _ => None,
        };
        self.at += usize::from(label.is_some());
        let implicit = self.source.syntax == Syntax::Proto3 || self.source.syntax == Syntax::Edition && self.implicit;
        let unlabelled = if implicit && oneof.is_none() { Label::Implicit } else { Label::Optional };
        label.unwrap_or(unlabelled)
    }

    fn field(&mut self, message: &mut Message, oneof: Option<usize>, depth: usize) -> Read<()> {
        let mut label = self.label(oneof);
        if self.is_word(0, "map") && self.ahead(1) == Some(&Token::Sign(b'<')) {
            return self.map(message);
        }
        if self.is_word(0, "group") && self.ahead(2) == Some(&Token::Sign(b'=')) {
            return self.group(message, label, oneof, depth);
        }
        let path = self.path()?;
        let ty = Scalar::named(&path).map_or(Type::Named(path), Type::Scalar);
        let (name, number, options) = self.rest_of_field()?;
        match options.field_presence.as_deref() {
            Some("IMPLICIT") if label == Label::Optional => label = Label::Implicit,
            Some("EXPLICIT") if label == Label::Implicit => label = Label::Optional,
            Some("LEGACY_REQUIRED") => label = Label::Required,
            _ => {}
        }
        message.fields.push(Field { name, number, label, ty, oneof, packed: options.packed, params: options.params });
        Ok(())
    }

    /// `name = number [options];`
    fn rest_of_field(&mut self) -> Read<(String, u32, Options)> {
        let name = self.word()?;
        self.expect(b'=')?;
        let number = self.number()?;
        let options = self.options()?;
        self.expect(b';')?;
        Ok((name, number, options))
    }

    fn number(&mut self) -> Read<u32> {
        match self.peek() {
            Some(&Token::Integer(n)) if (1..=NUMBER_MAX).contains(&n) => {
                self.at += 1;
                Ok(n as u32)
            }
            _ => self.expected("a field number"),
        }
    }

    /// `map<K, V> name = number;`, with the message that its entries are.
    fn map(&mut self, message: &mut Message) -> Read<()> {
        self.at += 2;
        let key = self.word()?;
        let key = match Scalar::named(&key) {
            Some(Scalar::Double | Scalar::Float | Scalar::Bytes) | None => {
                return Err(format!("`{key}` cannot be the key of a map"));
            }
            Some(key) => Type::Scalar(key),
        };
        self.expect(b',')?;
        let path = self.path()?;
        let value = Scalar::named(&path).map_or(Type::Named(path), Type::Scalar);
        self.expect(b'>')?;
        let (name, number, options) = self.rest_of_field()?;
        let entry = entry(&name, key, value);
        let ty = Type::Named(entry.name.clone());
        message.messages.push(entry);
        let label = Label::Repeated;
        message.fields.push(Field { name, number, label, ty, oneof: None, packed: None, params: options.params });
        Ok(())
    }

    fn group(&mut self, message: &mut Message, label: Label, oneof: Option<usize>, depth: usize) -> Read<()> {
        self.at += 1;
        let name = self.word()?;
        self.expect(b'=')?;
        let number = self.number()?;
        self.options()?;
        let mut group = Message { name: name.clone(), ..Message::default() };
        self.body(&mut group, depth + 1)?;
        message.messages.push(group);
        let (lower, ty) = (name.to_lowercase(), Type::Group(name));
        message.fields.push(Field { name: lower, number, label, ty, oneof, packed: None, params: vec![] });
        Ok(())
    }

    fn enumeration(&mut self) -> Read<Enum> {
        self.at += 1;
        let mut found = Enum { name: self.word()?, values: vec![] };
        self.expect(b'{')?;
        while !self.take(b'}') {
            if self.take(b';') {
                continue;
            }
            let value = matches!(self.ahead(1), Some(Token::Sign(b'=')));
            match self.peek() {
                Some(Token::Word(word)) if word == "option" && !value => drop(self.option_statement()?),
                Some(Token::Word(word)) if word == "reserved" && !value => self.statement()?,
                _ => {
                    let name = self.word()?;
                    self.expect(b'=')?;
                    let negative = self.take(b'-');
                    let Some(&Token::Integer(n)) = self.peek() else { return self.expected("a number") };
                    self.at += 1;
                    let n = i64::try_from(n).unwrap_or(i64::MAX);
                    let Ok(n) = i32::try_from(if negative { -n } else { n }) else {
                        return Err(format!("the number of `{name}` is no int32"));
                    };
                    self.options()?;
                    self.expect(b';')?;
                    found.values.push((name, n));
                }
            }
        }
        Ok(found)
    }
}

/// The message of a map's entries, named as protoc names it: `price_list` has a `PriceListEntry`.
fn entry(field: &str, key: Type, value: Type) -> Message {
    let mut name = String::new();
    let mut upper = true;
    for c in field.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                name.extend(c.to_uppercase());
                upper = false;
            }
            c => name.push(c),
        }
    }
    let part = |name: &str, number, ty| Field {
        name: name.to_owned(),
        number,
        label: Label::Implicit,
        ty,
        oneof: None,
        packed: None,
        params: vec![],
    };
    let fields = vec![part("key", 1, key), part("value", 2, value)];
    Message { name: name + "Entry", fields, map_entry: true, ..Message::default() }
}
