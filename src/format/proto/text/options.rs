//! Options in a `.proto` text. Three of them are kept: `packed`, the features of editions that change presence and packing, and
//! `confluent.field_meta`.
//!
//! ```text
//! [(confluent.field_meta) = { params: [{ key: "precision", value: "10" }] }]    ->    params [("precision", "10")]
//! [packed = true, deprecated = true]                                             ->    packed Some(true)
//! ```

use super::lexer::Token;
use super::parser::{NESTING_MAX, Parser, Read};

/// The options that are kept.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) packed: Option<bool>,
    /// `features.field_presence` of an edition.
    pub(super) field_presence: Option<String>,
    /// `params` of `confluent.field_meta`.
    pub(super) params: Vec<(String, String)>,
}

/// An option's value.
enum Value {
    /// A word, or a number's place.
    Word(String),
    Text(String),
    List(Vec<Value>),
    Fields(Vec<(String, Value)>),
}

impl Parser {
    /// `option name = value;`
    pub(super) fn option_statement(&mut self) -> Read<Options> {
        self.word()?;
        let mut options = Options::default();
        self.option(&mut options)?;
        self.expect(b';')?;
        Ok(options)
    }

    /// `[name = value, ...]`, if there is one.
    pub(super) fn options(&mut self) -> Read<Options> {
        let mut options = Options::default();
        if !self.take(b'[') {
            return Ok(options);
        }
        while !self.take(b']') {
            self.option(&mut options)?;
            if !self.take(b',') {
                self.expect(b']')?;
                break;
            }
        }
        Ok(options)
    }

    fn option(&mut self, options: &mut Options) -> Read<()> {
        let name = self.option_name()?;
        self.expect(b'=')?;
        let value = self.value(0)?;
        match (name.as_str(), value) {
            ("packed", Value::Word(word)) => options.packed = Some(word == "true"),
            ("features.repeated_field_encoding", Value::Word(word)) => options.packed = Some(word == "PACKED"),
            ("features.field_presence", Value::Word(word)) => options.field_presence = Some(word),
            ("(confluent.field_meta)", Value::Fields(fields)) => {
                let params = fields.into_iter().filter(|(name, _)| name == "params");
                params.for_each(|(_, value)| options.params.extend(pairs(value)));
            }
            ("(confluent.field_meta).params", value) => options.params.extend(pairs(value)),
            _ => {}
        }
        Ok(())
    }

    /// `packed`, `(a.b).c`, `features.x`: without leading dots in the brackets.
    fn option_name(&mut self) -> Read<String> {
        let mut name = String::new();
        loop {
            if self.take(b'(') {
                let path = self.path()?;
                self.expect(b')')?;
                name += &format!("({})", path.trim_start_matches('.'));
            } else {
                name += &self.word()?;
            }
            if !self.take(b'.') {
                return Ok(name);
            }
            name.push('.');
        }
    }

    fn value(&mut self, depth: usize) -> Read<Value> {
        if depth > NESTING_MAX {
            return Err(format!("an option is nested more than {NESTING_MAX} deep"));
        }
        if self.take(b'[') {
            let mut items = vec![];
            while !self.take(b']') {
                items.push(self.value(depth + 1)?);
                if !self.take(b',') {
                    self.expect(b']')?;
                    break;
                }
            }
            return Ok(Value::List(items));
        }
        for (open, close) in [(b'{', b'}'), (b'<', b'>')] {
            if self.take(open) {
                return self.aggregate(close, depth);
            }
        }
        let _sign = self.take(b'-') || self.take(b'+');
        match self.peek() {
            Some(Token::Word(_)) => Ok(Value::Word(self.path()?)),
            Some(Token::Integer(_) | Token::Float) => {
                self.next();
                Ok(Value::Word(String::new()))
            }
            Some(Token::Text(_)) => {
                let mut text = String::new();
                while let Some(Token::Text(part)) = self.peek() {
                    text += part;
                    self.next();
                }
                Ok(Value::Text(text))
            }
            _ => self.expected("a value"),
        }
    }

    /// Text format: `name: value`, `name { ... }`, with optional commas or semicolons between.
    fn aggregate(&mut self, close: u8, depth: usize) -> Read<Value> {
        let mut fields = vec![];
        while !self.take(close) {
            let name = match self.take(b'[') {
                true => {
                    let mut name = self.path()?;
                    while self.take(b'/') {
                        name = self.path()?;
                    }
                    self.expect(b']')?;
                    name
                }
                false => self.word()?,
            };
            let colon = self.take(b':');
            if !colon && !self.is(b'{') && !self.is(b'<') {
                return self.expected("`:`");
            }
            fields.push((name, self.value(depth + 1)?));
            let _separator = self.take(b',') || self.take(b';');
        }
        Ok(Value::Fields(fields))
    }
}

/// Entries of a map in text format: one, or a list of them.
fn pairs(value: Value) -> Vec<(String, String)> {
    match value {
        Value::List(items) => items.into_iter().flat_map(pairs).collect(),
        Value::Fields(fields) => {
            let (mut key, mut text) = (String::new(), String::new());
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("key", Value::Text(value)) => key = value,
                    ("value", Value::Text(value)) => text = value,
                    _ => {}
                }
            }
            vec![(key, text)]
        }
        Value::Word(_) | Value::Text(_) => vec![],
    }
}
