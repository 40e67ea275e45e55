//! ksqlDB's types: text to [`SqlType`], and both ways between [`SqlType`] and the tree's own types.
//!
//! `ARRAY<STRUCT<f INT>>` ends in `>>`, which is one token: a closing bracket too many is handed to the level above.

use super::span::bytes_of;
use super::syntax_error::EXPECTING;
use super::words::RESERVED;
use crate::types::{DECIMAL_PRECISION_MAX, SqlType, nearest};
use sqlparser::ast::{
    ArrayElemTypeDef, DataType, ExactNumberInfo, Ident, StructBracketKind, StructField, TimezoneInfo,
};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};
use std::collections::BTreeMap;

/// Deepest nesting of ARRAY, MAP and STRUCT: schemas are walked by recursion everywhere.
pub const TYPE_NESTING_MAX: usize = 32;

/// Names of types, for hints and completion.
pub const TYPE_NAMES: [&str; 15] = [
    "BOOLEAN",
    "INT",
    "INTEGER",
    "BIGINT",
    "DOUBLE",
    "DECIMAL",
    "VARCHAR",
    "STRING",
    "BYTES",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "ARRAY",
    "MAP",
    "STRUCT",
];

/// Types that have a name: CREATE TYPE.
pub type CustomTypes = BTreeMap<String, SqlType>;

type Parse<T> = Result<T, ParserError>;

/// The SQL type of a type of the tree (in CAST).
pub fn sql_type(ty: &DataType) -> Option<SqlType> {
    Some(match ty {
        DataType::Boolean | DataType::Bool => SqlType::Boolean,
        DataType::Int(_) | DataType::Integer(_) | DataType::SmallInt(_) | DataType::TinyInt(_) => SqlType::Integer,
        DataType::BigInt(_) => SqlType::Bigint,
        DataType::Double(_) | DataType::DoublePrecision | DataType::Float(_) | DataType::Real => SqlType::Double,
        DataType::Decimal(n) | DataType::Numeric(n) | DataType::Dec(n) => match n {
            ExactNumberInfo::PrecisionAndScale(p, s) => {
                SqlType::Decimal(u8::try_from(*p).ok()?, i8::try_from(*s).ok()?)
            }
            ExactNumberInfo::Precision(p) => SqlType::Decimal(u8::try_from(*p).ok()?, 0),
            ExactNumberInfo::None => return None,
        },
        DataType::String(_) | DataType::Varchar(_) | DataType::Text | DataType::Char(_) => SqlType::String,
        DataType::Bytes(_) | DataType::Bytea | DataType::Binary(_) | DataType::Varbinary(_) => SqlType::Bytes,
        DataType::Date => SqlType::Date,
        DataType::Time(_, TimezoneInfo::None) => SqlType::Time,
        DataType::Timestamp(_, TimezoneInfo::None) => SqlType::Timestamp,
        DataType::Array(ArrayElemTypeDef::AngleBracket(item)) => SqlType::Array(Box::new(sql_type(item)?)),
        DataType::Map(key, value) => SqlType::Map(Box::new(sql_type(key)?), Box::new(sql_type(value)?)),
        DataType::Struct(fields, _) => SqlType::Struct(
            fields
                .iter()
                .map(|f| Some((f.field_name.as_ref()?.value.clone(), sql_type(&f.field_type)?)))
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

/// The tree's form of a SQL type.
pub fn data_type(ty: &SqlType) -> DataType {
    match ty {
        SqlType::Boolean => DataType::Boolean,
        SqlType::Integer => DataType::Integer(None),
        SqlType::Bigint => DataType::BigInt(None),
        SqlType::Double => DataType::Double(ExactNumberInfo::None),
        SqlType::Decimal(p, s) => DataType::Decimal(ExactNumberInfo::PrecisionAndScale(u64::from(*p), i64::from(*s))),
        SqlType::String => DataType::String(None),
        SqlType::Bytes => DataType::Bytes(None),
        SqlType::Date => DataType::Date,
        SqlType::Time => DataType::Time(None, TimezoneInfo::None),
        SqlType::Timestamp => DataType::Timestamp(None, TimezoneInfo::None),
        SqlType::Array(item) => DataType::Array(ArrayElemTypeDef::AngleBracket(Box::new(data_type(item)))),
        SqlType::Map(key, value) => DataType::Map(Box::new(data_type(key)), Box::new(data_type(value))),
        SqlType::Struct(fields) => {
            let field = |(name, ty): &(String, SqlType)| StructField {
                field_name: Some(Ident::with_quote('`', name)),
                field_type: data_type(ty),
                options: None,
            };
            DataType::Struct(fields.iter().map(field).collect(), StructBracketKind::AngleBrackets)
        }
    }
}

/// A type of a declared column.
pub(super) fn parse_type(parser: &mut Parser, custom: &CustomTypes) -> Parse<SqlType> {
    let mut closed = 0;
    let ty = Types { parser, custom, closed: &mut closed }.any(0)?;
    if closed > 0 {
        return parser.expected_ref("a type with one > less", parser.peek_token_ref());
    }
    Ok(ty)
}

/// A type in CAST: ksqlDB's, or else one of SQL's that the batch engine knows.
pub(super) fn parse_type_or_sql(parser: &mut Parser, custom: &CustomTypes) -> Parse<DataType> {
    let own = match &parser.peek_token_ref().token {
        Token::Word(w) => {
            TYPE_NAMES.contains(&w.value.as_str())
                || w.value == "DEC"
                || w.value == "NUMERIC"
                || custom.contains_key(&w.value)
        }
        _ => false,
    };
    if own {
        return Ok(data_type(&parse_type(parser, custom)?));
    }
    let first = parser.peek_token_ref().clone();
    match parser.parse_data_type()? {
        DataType::Custom(..) => unknown(&first.to_string(), &first),
        other => Ok(other),
    }
}

fn unknown<T>(name: &str, at: &TokenWithSpan) -> Parse<T> {
    let offset = bytes_of(at.span).unwrap_or_default().start;
    let hint = nearest(name, TYPE_NAMES.into_iter()).map_or_else(String::new, |n| format!(": did you mean {n}?"));
    fact(format!("cannot resolve unknown type {name}{hint}"), offset)
}

/// A message that is no "expected, found", with its place in sqlparser's way of writing it.
fn fact<T>(message: String, offset: usize) -> Parse<T> {
    Err(ParserError::ParserError(format!("{message} at Line: 1, Column: {}", offset + 1)))
}

struct Types<'p, 'a> {
    parser: &'p mut Parser<'a>,
    custom: &'p CustomTypes,
    closed: &'p mut usize,
}

impl Types<'_, '_> {
    fn any(&mut self, depth: usize) -> Parse<SqlType> {
        let token = self.parser.next_token();
        let offset = bytes_of(token.span).unwrap_or_default().start;
        if depth > TYPE_NESTING_MAX {
            return fact(format!("the type is nested too deeply: at most {TYPE_NESTING_MAX} levels"), offset);
        }
        let Token::Word(word) = &token.token else { return self.parser.expected("a type", token) };
        let mut ty = match word.value.as_str() {
            "BOOLEAN" => SqlType::Boolean,
            "INT" | "INTEGER" => SqlType::Integer,
            "BIGINT" => SqlType::Bigint,
            "DOUBLE" => SqlType::Double,
            "DECIMAL" | "DEC" | "NUMERIC" => self.decimal(offset)?,
            "VARCHAR" | "STRING" => self.string()?,
            "BYTES" => SqlType::Bytes,
            "DATE" => SqlType::Date,
            "TIME" => SqlType::Time,
            "TIMESTAMP" => SqlType::Timestamp,
            "ARRAY" => {
                self.open()?;
                let item = self.any(depth + 1)?;
                self.close()?;
                SqlType::Array(Box::new(item))
            }
            "MAP" => {
                self.open()?;
                let key = self.any(depth + 1)?;
                self.parser.expect_token(&Token::Comma)?;
                let value = self.any(depth + 1)?;
                self.close()?;
                SqlType::Map(Box::new(key), Box::new(value))
            }
            "STRUCT" => self.fields(depth)?,
            other => match self.custom.get(other) {
                Some(ty) => ty.clone(),
                None if word.quote_style.is_none() && RESERVED.contains(&other) => {
                    return self.parser.expected("a type", token);
                }
                None => return unknown(other, &token),
            },
        };
        if !matches!(ty, SqlType::Decimal(..) | SqlType::String | SqlType::Struct(_)) {
            self.nothing_in_parentheses()?;
        }
        let mut suffixes = 0;
        while *self.closed == 0 && self.accept_word("ARRAY") {
            suffixes += 1;
            if depth + suffixes > TYPE_NESTING_MAX {
                return fact(format!("the type is nested too deeply: at most {TYPE_NESTING_MAX} levels"), offset);
            }
            ty = SqlType::Array(Box::new(ty));
        }
        Ok(ty)
    }

    fn fields(&mut self, depth: usize) -> Parse<SqlType> {
        if self.parser.consume_token(&Token::Neq) {
            return Ok(SqlType::Struct(Vec::new()));
        }
        self.open()?;
        let mut fields = Vec::new();
        loop {
            let name = self.parser.parse_identifier()?.value;
            fields.push((name, self.any(depth + 1)?));
            if *self.closed > 0 || !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.close()?;
        Ok(SqlType::Struct(fields))
    }

    fn decimal(&mut self, offset: usize) -> Parse<SqlType> {
        if !self.parser.consume_token(&Token::LParen) {
            return fact("DECIMAL needs a precision and a scale: DECIMAL(10, 2)".to_owned(), offset);
        }
        let precision = self.parser.parse_literal_uint()?;
        let scale = match self.parser.consume_token(&Token::Comma) {
            true => self.parser.parse_literal_uint()?,
            false => 0,
        };
        self.parser.expect_token(&Token::RParen)?;
        if precision == 0 {
            return fact(
                "DECIMAL precision must be >= 1: DECIMAL(0, 0)".replace("(0, 0)", &format!("(0, {scale})")),
                offset,
            );
        }
        if scale > precision {
            return fact(format!("DECIMAL precision must be >= scale: DECIMAL({precision}, {scale})"), offset);
        }
        match (u8::try_from(precision), i8::try_from(scale)) {
            (Ok(p), Ok(s)) if p <= DECIMAL_PRECISION_MAX => Ok(SqlType::Decimal(p, s)),
            _ => fact(format!("DECIMAL precision must be <= {DECIMAL_PRECISION_MAX}: it is {precision}"), offset),
        }
    }

    /// `VARCHAR(20)`: the length means nothing, as in ksqlDB.
    fn string(&mut self) -> Parse<SqlType> {
        if self.parser.consume_token(&Token::LParen) {
            self.length()?;
        }
        Ok(SqlType::String)
    }

    /// What ksqlDB's grammar has in the parentheses of any type; only VARCHAR means something by it, and that is nothing.
    fn length(&mut self) -> Parse<()> {
        let inside = self.parser.next_token();
        match &inside.token {
            Token::Number(..) => {}
            Token::Word(word) if word.value == "STRING" => {}
            _ => {
                let offset = bytes_of(inside.span).unwrap_or_default().start;
                return fact(format!("{EXPECTING}'STRING', INTEGER_VALUE}}"), offset);
            }
        }
        self.parser.expect_token(&Token::RParen).map(|_| ())
    }

    /// `DOUBLE (KEY)`: no type but VARCHAR and DECIMAL takes arguments, and the error lists what ksqlDB expects.
    fn nothing_in_parentheses(&mut self) -> Parse<()> {
        let inside = &self.parser.peek_nth_token_ref(1).token;
        let fits = matches!(inside, Token::Number(..)) || matches!(inside, Token::Word(w) if w.value == "STRING");
        if self.parser.peek_token_ref().token == Token::LParen && !fits {
            self.parser.advance_token();
            return self.length();
        }
        Ok(())
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let ahead =
            matches!(&self.parser.peek_token_ref().token, Token::Word(w) if w.quote_style.is_none() && w.value == word);
        if ahead {
            self.parser.advance_token();
        }
        ahead
    }

    fn open(&mut self) -> Parse<()> {
        self.parser.expect_token(&Token::Lt).map(|_| ())
    }

    fn close(&mut self) -> Parse<()> {
        if *self.closed > 0 {
            *self.closed -= 1;
        } else if self.parser.consume_token(&Token::ShiftRight) {
            *self.closed += 1;
        } else {
            self.parser.expect_token(&Token::Gt)?;
        }
        Ok(())
    }
}
