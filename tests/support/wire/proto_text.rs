//! The text of a `.proto` file: messages, enums and the options that matter for payloads; services and extensions are skipped.

use super::Referenced;
use super::protobuf::{Enum, Field, File, Label, Message, Type};
use std::collections::BTreeMap;

/// What the imports of ksqlDB's schemas name; every registry knows these without being given them.
const WELL_KNOWN: &str = r#"
syntax = "proto3"; package google.protobuf;
message Timestamp { int64 seconds = 1; int32 nanos = 2; }
message Duration { int64 seconds = 1; int32 nanos = 2; }
message Any { string type_url = 1; bytes value = 2; }
message Empty { }
message DoubleValue { double value = 1; } message FloatValue { float value = 1; }
message Int64Value { int64 value = 1; } message UInt64Value { uint64 value = 1; }
message Int32Value { int32 value = 1; } message UInt32Value { uint32 value = 1; }
message BoolValue { bool value = 1; } message StringValue { string value = 1; } message BytesValue { bytes value = 1; }
"#;
const GOOGLE_TYPE: &str = r#"
syntax = "proto3"; package google.type;
message Date { int32 year = 1; int32 month = 2; int32 day = 3; }
message TimeOfDay { int32 hours = 1; int32 minutes = 2; int32 seconds = 3; int32 nanos = 4; }
"#;
const CONFLUENT_TYPE: &str = r#"
syntax = "proto3"; package confluent.type;
message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }
"#;

const KNOWN: [&str; 3] = [WELL_KNOWN, GOOGLE_TYPE, CONFLUENT_TYPE];

impl File {
    /// The messages that need not be given.
    pub(crate) fn well_known() -> File {
        let file = KNOWN.into_iter().try_fold(File::default(), |mut file, text| read(text, &mut file).map(|()| file));
        file.expect("the texts are right")
    }
}

/// Reads a file after the ones that it refers to.
pub(super) fn parse(text: &str, references: &[Referenced]) -> Result<File, String> {
    let mut file = File::default();
    for other in KNOWN.into_iter().chain(references.iter().map(|r| r.text.as_str())) {
        read(other, &mut file)?;
    }
    file.roots = Vec::new();
    read(text, &mut file)?;
    file.resolve()?;
    Ok(file)
}

fn read(text: &str, file: &mut File) -> Result<(), String> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, package: String::new(), proto2: true };
    parser.file(file).map_err(|e| format!("{e}, in the .proto text: {text}"))
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let (mut out, mut chars) = (Vec::new(), text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '/' if chars.peek() == Some(&'/') => while chars.next().is_some_and(|c| c != '\n') {},
            '/' if chars.peek() == Some(&'*') => {
                let mut before = ' ';
                for c in chars.by_ref() {
                    if before == '*' && c == '/' {
                        break;
                    }
                    before = c;
                }
            }
            '"' | '\'' => {
                let mut string = String::new();
                loop {
                    match chars.next().ok_or("a string is not closed")? {
                        '\\' => string.extend(chars.next()),
                        end if end == c => break,
                        other => string.push(other),
                    }
                }
                out.push(Token::Text(string));
            }
            c if c.is_alphanumeric() || "_.-+".contains(c) => {
                let mut word = c.to_string();
                while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || "_.".contains(*c)) {
                    word.push(c);
                }
                out.push(Token::Word(word));
            }
            sign => out.push(Token::Sign(sign)),
        }
    }
    Ok(out)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    package: String,
    proto2: bool,
}

/// The options of a field that its payload depends on.
#[derive(Default)]
struct Options {
    packed: Option<bool>,
    scale: Option<u32>,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Result<Token, String> {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned().ok_or_else(|| "the text ends early".to_owned())
    }

    fn word(&mut self) -> Result<String, String> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            other => Err(format!("a name is missing before {other:?}")),
        }
    }

    fn sign(&mut self, sign: char) -> Result<(), String> {
        match self.next()? {
            Token::Sign(c) if c == sign => Ok(()),
            other => Err(format!("'{sign}' is missing before {other:?}")),
        }
    }

    fn skip_sign(&mut self, sign: char) -> bool {
        let found = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    /// To the end of a statement: `;`, or a block in braces.
    fn skip_statement(&mut self) -> Result<(), String> {
        let mut depth = 0;
        loop {
            match self.next()? {
                Token::Sign('{') => depth += 1,
                Token::Sign('}') if depth == 1 => {
                    self.skip_sign(';');
                    return Ok(());
                }
                Token::Sign('}') => depth -= 1,
                Token::Sign(';') if depth == 0 => return Ok(()),
                _ => {}
            }
        }
    }

    fn file(&mut self, file: &mut File) -> Result<(), String> {
        while self.peek().is_some() {
            if self.skip_sign(';') {
                continue;
            }
            match self.word()?.as_str() {
                "syntax" => {
                    self.sign('=')?;
                    self.proto2 = self.next()? == Token::Text("proto2".to_owned());
                    self.sign(';')?;
                }
                "package" => {
                    self.package = self.word()?;
                    self.sign(';')?;
                }
                "message" => {
                    let scope = self.package.clone();
                    let name = self.message(&scope, file)?;
                    file.roots.push(name);
                }
                "enum" => {
                    let scope = self.package.clone();
                    self.read_enum(&scope, file)?;
                }
                "import" | "option" | "service" | "extend" | "edition" => self.skip_statement()?,
                other => return Err(format!("'{other}' begins no statement")),
            }
        }
        Ok(())
    }

    /// A message behind its keyword; returns its full name.
    fn message(&mut self, scope: &str, file: &mut File) -> Result<String, String> {
        let full = join(scope, &self.word()?);
        let mut message = Message::default();
        self.sign('{')?;
        while !self.skip_sign('}') {
            self.member(&full, &mut message, file)?;
        }
        file.messages.insert(full.clone(), message);
        Ok(full)
    }

    fn member(&mut self, full: &str, message: &mut Message, file: &mut File) -> Result<(), String> {
        if self.skip_sign(';') {
            return Ok(());
        }
        let follows = |parser: &Parser, sign: char| parser.tokens.get(parser.at + 1) == Some(&Token::Sign(sign));
        match self.word()?.as_str() {
            "message" if follows(self, '{') => {
                let nested = self.message(full, file)?;
                message.nested.push(nested);
            }
            "enum" if follows(self, '{') => self.read_enum(full, file)?,
            "oneof" if follows(self, '{') => {
                let n = message.oneofs.len();
                message.oneofs.push(self.word()?);
                self.sign('{')?;
                while !self.skip_sign('}') {
                    match self.word()?.as_str() {
                        "option" => self.skip_statement()?,
                        ty => {
                            let field = self.field(ty, Label::Optional)?;
                            message.fields.push(Field { oneof: Some(n), scope: full.to_owned(), ..field });
                        }
                    }
                }
            }
            "reserved" | "extensions" | "option" | "extend" => self.skip_statement()?,
            word => {
                let (label, ty) = match word {
                    "repeated" => (Label::Repeated, self.word()?),
                    "optional" => (Label::Optional, self.word()?),
                    "required" => (Label::Required, self.word()?),
                    _ => (Label::Plain, word.to_owned()),
                };
                if ty == "group" {
                    return self.skip_statement();
                }
                let field = self.field(&ty, label)?;
                message.fields.push(Field { scope: full.to_owned(), ..field });
            }
        }
        Ok(())
    }

    /// A field behind its label and the first word of its type.
    fn field(&mut self, ty: &str, mut label: Label) -> Result<Field, String> {
        let ty = if ty == "map" && self.skip_sign('<') {
            label = Label::Repeated;
            let key = self.word()?;
            self.sign(',')?;
            let value = self.word()?;
            self.sign('>')?;
            Type::Map(Box::new(Type::named(&key)), Box::new(Type::named(&value)))
        } else {
            Type::named(ty)
        };
        let name = self.word()?;
        self.sign('=')?;
        let number = self.word()?.parse().map_err(|e| format!("the number of the field {name}: {e}"))?;
        let options = if self.skip_sign('[') { self.options()? } else { Options::default() };
        self.sign(';')?;
        Ok(Field {
            name,
            number,
            ty,
            label,
            oneof: None,
            scale: options.scale,
            packed: options.packed.unwrap_or(!self.proto2),
            scope: String::new(),
        })
    }

    /// Options up to the bracket that closes them. `params` of `confluent.field_meta` hold the scale of a decimal.
    fn options(&mut self) -> Result<Options, String> {
        let (mut options, mut depth) = (Options::default(), 0);
        let mut pair = BTreeMap::new();
        let mut before = None;
        loop {
            let token = self.next()?;
            match &token {
                Token::Sign(']') if depth == 0 => return Ok(options),
                Token::Sign('[' | '{') => depth += 1,
                Token::Sign(']' | '}') => depth -= 1,
                Token::Sign(':' | '=' | ',' | '(' | ')') => continue,
                Token::Text(text) => {
                    if let Some(Token::Word(name)) = before.take() {
                        pair.insert(name, text.clone());
                    }
                    if pair.get("key").is_some_and(|key| key == "scale" || key == "precision") && pair.len() == 2 {
                        if pair["key"] == "scale" {
                            options.scale = pair.get("value").and_then(|scale| scale.parse().ok());
                        }
                        pair.clear();
                    }
                }
                Token::Word(word) if before == Some(Token::Word("packed".to_owned())) => {
                    options.packed = Some(word == "true");
                }
                _ => {}
            }
            before = Some(token);
        }
    }

    fn read_enum(&mut self, scope: &str, file: &mut File) -> Result<(), String> {
        let full = join(scope, &self.word()?);
        let mut symbols = Enum::default();
        self.sign('{')?;
        while !self.skip_sign('}') {
            if self.skip_sign(';') {
                continue;
            }
            let name = self.word()?;
            if name == "option" || name == "reserved" {
                self.skip_statement()?;
                continue;
            }
            self.sign('=')?;
            let number = self.word()?.parse().map_err(|e| format!("the number of {name}: {e}"))?;
            symbols.values.push((name, number));
            self.skip_statement()?;
        }
        file.enums.insert(full, symbols);
        Ok(())
    }
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}
