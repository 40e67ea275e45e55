//! ksqlDB's expressions on sqlparser's hooks.
//!
//! What sqlparser would read otherwise: lambdas (`x => x + 1`), `struct->field` and `->*` binding tighter than
//! arithmetic, `MAP(k := v)` and `STRUCT(f := v)`, ksqlDB's types in CAST, functions that SQL gives a syntax of their
//! own (`SUBSTRING(s, 1, 2)`), `||` below `+`, and `IS DISTINCT FROM` below AND.

use super::types::{CustomTypes, parse_type_or_sql};
use super::words::RESERVED;
use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator,
    FunctionArgumentList, FunctionArguments, Ident, LambdaFunction, LambdaFunctionParameter, LambdaSyntax, ObjectName,
    OneOrManyWithParens, visit_expressions,
};
use sqlparser::dialect::{Dialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;
use std::ops::ControlFlow;

/// The precedence of `->`: above every operator, below `.`.
const ARROW_PRECEDENCE: u8 = 60;

/// The precedence of `||`: below `+` (30), above comparisons (20).
const CONCAT_PRECEDENCE: u8 = 25;

/// Functions that SQL gives a syntax of their own; ksqlDB calls them like any other.
const OWN_SYNTAX: [&str; 9] =
    ["CEIL", "CONVERT", "EXTRACT", "FLOOR", "OVERLAY", "POSITION", "SUBSTR", "SUBSTRING", "TRIM"];

/// The dialect. It only knows expressions: statements are read by the modules beside it.
#[derive(Debug, Default)]
pub(super) struct KsqlDialect {
    /// What CREATE TYPE named.
    pub(super) types: CustomTypes,
}

impl Dialect for KsqlDialect {
    fn is_identifier_start(&self, c: char) -> bool {
        c.is_ascii_alphabetic() || c == '_'
    }

    fn is_identifier_part(&self, c: char) -> bool {
        c.is_ascii_alphanumeric() || c == '_' || c == '@'
    }

    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        false // `x => e` is a lambda.
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true // `LAG(x IGNORE NULLS)`, as other databases have it, beside `LAG(x) IGNORE NULLS`.
    }

    /// Words whose own syntax is meant when it is begun, so that a failed `NOT (...)` is not tried again as a call of
    /// NOT: nested, that would double the work at every level.
    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        use Keyword as K;
        let special = matches!(keyword, K::NOT | K::CASE | K::CAST | K::TRY_CAST | K::SAFE_CAST | K::EXISTS | K::ARRAY);
        let clock = matches!(keyword, K::CURRENT_DATE | K::CURRENT_TIME | K::CURRENT_TIMESTAMP);
        let local = matches!(keyword, K::LOCALTIME | K::LOCALTIMESTAMP);
        special || clock || local || OWN_SYNTAX.contains(&format!("{keyword:?}").as_str())
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        match &parser.peek_token_ref().token {
            Token::Arrow => Some(Ok(ARROW_PRECEDENCE)),
            Token::StringConcat => Some(Ok(CONCAT_PRECEDENCE)),
            Token::Assignment => Some(Ok(self.prec_unknown())),
            _ => None,
        }
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let next = &parser.peek_nth_token_ref(1).token;
        match &parser.peek_token_ref().token {
            Token::Word(_) if *next == Token::RArrow => Some(lambda_of_one(parser)),
            Token::Word(word) if word.quote_style.is_none() && cannot_start(&word.value, next) => {
                Some(parser.expected_ref("an expression", parser.peek_token_ref()))
            }
            Token::Word(word) if word.quote_style.is_none() && *next == Token::LParen => match word.value.as_str() {
                "CAST" => Some(cast(parser, &self.types)),
                "MAP" => Some(constructor(parser, map_entry)),
                "STRUCT" => Some(constructor(parser, struct_entry)),
                word if OWN_SYNTAX.contains(&word) && !has_words_of_its_own(parser) => Some(plain_call(parser)),
                "POSITION" => Some(position(parser)),
                _ => None,
            },
            Token::Word(word) if word.quote_style.is_none() && is_mere_name(&word.value, next) => {
                Some(parser.parse_identifier().map(Expr::Identifier))
            }
            Token::LParen if is_lambda_of_many(parser) => Some(lambda_of_many(parser)),
            _ => None,
        }
    }

    fn parse_infix(&self, parser: &mut Parser, left: &Expr, _: u8) -> Option<Result<Expr, ParserError>> {
        let word_at = |n: usize| match &parser.peek_nth_token_ref(n).token {
            Token::Word(w) => w.keyword,
            _ => Keyword::NoKeyword,
        };
        if parser.peek_token_ref().token == Token::Arrow {
            return Some(dereference(parser, left.clone()));
        }
        match (word_at(0), word_at(1), word_at(2), word_at(3)) {
            (Keyword::IS, Keyword::DISTINCT, Keyword::FROM, _) => Some(distinct(parser, left.clone(), 3)),
            (Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM) => Some(distinct(parser, left.clone(), 4)),
            (Keyword::BETWEEN, _, _, _) if is_symmetric(parser, 1) => Some(symmetric(parser, left.clone(), false)),
            (Keyword::NOT, Keyword::BETWEEN, _, _) if is_symmetric(parser, 2) => {
                Some(symmetric(parser, left.clone(), true))
            }
            _ => None,
        }
    }
}

/// sqlparser would take FROM in `a + FROM s` for a column.
fn cannot_start(word: &str, next: &Token) -> bool {
    match word {
        "CASE" | "CAST" | "NOT" | "NULL" | "TRUE" | "FALSE" => false,
        "LEFT" | "RIGHT" | "INSERT" => *next != Token::LParen,
        word => RESERVED.contains(&word),
    }
}

/// A column called FLOOR, or INTERVAL where no literal follows.
fn is_mere_name(word: &str, next: &Token) -> bool {
    match word {
        "INTERVAL" => !matches!(next, Token::SingleQuotedString(_) | Token::Number(..)),
        word => OWN_SYNTAX.contains(&word),
    }
}

fn parameter(parser: &mut Parser) -> Result<LambdaFunctionParameter, ParserError> {
    Ok(LambdaFunctionParameter { name: parser.parse_identifier()?, data_type: None })
}

fn lambda(parser: &mut Parser, params: OneOrManyWithParens<LambdaFunctionParameter>) -> Result<Expr, ParserError> {
    parser.expect_token(&Token::RArrow)?;
    let body = Box::new(parser.parse_expr()?);
    Ok(Expr::Lambda(LambdaFunction { params, body, syntax: LambdaSyntax::Arrow }))
}

fn lambda_of_one(parser: &mut Parser) -> Result<Expr, ParserError> {
    let params = OneOrManyWithParens::One(parameter(parser)?);
    lambda(parser, params)
}

/// Is `(a, b) =>` ahead? Looks no further than the names.
fn is_lambda_of_many(parser: &Parser) -> bool {
    let mut at = 1;
    loop {
        let (name, after) = (&parser.peek_nth_token_ref(at).token, &parser.peek_nth_token_ref(at + 1).token);
        match (name, after) {
            (Token::Word(_), Token::Comma) => at += 2,
            (Token::Word(_), Token::RParen) => return parser.peek_nth_token_ref(at + 2).token == Token::RArrow,
            _ => return false,
        }
    }
}

fn lambda_of_many(parser: &mut Parser) -> Result<Expr, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let params = OneOrManyWithParens::Many(parser.parse_comma_separated(parameter)?);
    parser.expect_token(&Token::RParen)?;
    lambda(parser, params)
}

fn cast(parser: &mut Parser, types: &CustomTypes) -> Result<Expr, ParserError> {
    parser.advance_token();
    parser.expect_token(&Token::LParen)?;
    let expr = Box::new(parser.parse_expr()?);
    parser.expect_keyword(Keyword::AS)?;
    let data_type: DataType = parse_type_or_sql(parser, types)?;
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None })
}

/// `MAP(...)` and `STRUCT(...)` become calls of MAP and STRUCT with named arguments.
fn constructor(
    parser: &mut Parser,
    entry: fn(&mut Parser) -> Result<FunctionArg, ParserError>,
) -> Result<Expr, ParserError> {
    let name = parser.parse_identifier()?;
    parser.expect_token(&Token::LParen)?;
    let empty = parser.peek_token_ref().token == Token::RParen;
    let args = if empty { Vec::new() } else { parser.parse_comma_separated(entry)? };
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Function(call(name, args)))
}

fn map_entry(parser: &mut Parser) -> Result<FunctionArg, ParserError> {
    let name = parser.parse_expr()?;
    parser.expect_token(&Token::Assignment)?;
    let arg = FunctionArgExpr::Expr(parser.parse_expr()?);
    Ok(FunctionArg::ExprNamed { name, arg, operator: FunctionArgOperator::Assignment })
}

fn struct_entry(parser: &mut Parser) -> Result<FunctionArg, ParserError> {
    let name = parser.parse_identifier()?;
    parser.expect_token(&Token::Assignment)?;
    let arg = FunctionArgExpr::Expr(parser.parse_expr()?);
    Ok(FunctionArg::Named { name, arg, operator: FunctionArgOperator::Assignment })
}

fn call(name: Ident, args: Vec<FunctionArg>) -> Function {
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Function {
        name: ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

/// `SUBSTRING(s FROM 1)`, `EXTRACT(YEAR FROM t)`: the call at hand uses SQL's words instead of commas. Looked up rather
/// than tried, because trying twice at every level of nesting takes exponential time.
fn has_words_of_its_own(parser: &Parser) -> bool {
    let mut depth = 0usize;
    for n in 1.. {
        match parser.peek_nth_token_no_skip(n).token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 1 => return false,
            Token::RParen => depth -= 1,
            Token::EOF => return false,
            Token::Word(w) if depth == 1 => match w.keyword {
                Keyword::FROM | Keyword::FOR | Keyword::IN | Keyword::PLACING | Keyword::USING | Keyword::TO => {
                    return true;
                }
                Keyword::LEADING | Keyword::TRAILING | Keyword::BOTH => return true,
                _ => {}
            },
            _ => {}
        }
    }
    false
}

fn plain_call(parser: &mut Parser) -> Result<Expr, ParserError> {
    let name = parser.parse_identifier()?;
    parser.parse_function(ObjectName::from(vec![name]))
}

/// `POSITION(a IN b)`: sqlparser would read a failed one again as a call.
fn position(parser: &mut Parser) -> Result<Expr, ParserError> {
    parser.advance_token();
    parser.expect_token(&Token::LParen)?;
    let expr = Box::new(parser.parse_subexpr(KsqlDialect::default().prec_value(Precedence::Between))?);
    parser.expect_keyword(Keyword::IN)?;
    let r#in = Box::new(parser.parse_expr()?);
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Position { expr, r#in })
}

/// `left->field`, `left->*`, and the subscripts that follow the field.
fn dereference(parser: &mut Parser, left: Expr) -> Result<Expr, ParserError> {
    parser.expect_token(&Token::Arrow)?;
    if parser.peek_token_ref().token == Token::Mul {
        let star = parser.next_token();
        let right = Box::new(Expr::Wildcard(star.into()));
        return Ok(Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::Arrow, right });
    }
    let right = Box::new(Expr::Identifier(parser.parse_identifier()?));
    let field = Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::Arrow, right };
    let mut chain = Vec::new();
    parser.parse_multi_dim_subscript(&mut chain)?;
    Ok(match chain.is_empty() {
        true => field,
        false => Expr::CompoundFieldAccess { root: Box::new(field), access_chain: chain },
    })
}

/// sqlparser would read everything up to the end as the right side, ANDs included.
fn distinct(parser: &mut Parser, left: Expr, words: usize) -> Result<Expr, ParserError> {
    for _ in 0..words {
        parser.advance_token();
    }
    let precedence = KsqlDialect::default().prec_value(Precedence::Is);
    let (left, right) = (Box::new(left), Box::new(parser.parse_subexpr(precedence)?));
    Ok(if words == 3 { Expr::IsDistinctFrom(left, right) } else { Expr::IsNotDistinctFrom(left, right) })
}

/// Is the n-th token the word SYMMETRIC?
fn is_symmetric(parser: &Parser, n: usize) -> bool {
    matches!(&parser.peek_nth_token_ref(n).token, Token::Word(w) if w.quote_style.is_none() && w.value == "SYMMETRIC")
}

/// A bound that may stand before AND and OR: the body of a lambda would reach behind them.
fn delimited(bound: Box<Expr>) -> Box<Expr> {
    let lambda = |expr: &Expr| match expr {
        Expr::Lambda(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    match visit_expressions(&*bound, lambda) {
        ControlFlow::Break(()) => Box::new(Expr::Nested(bound)),
        ControlFlow::Continue(()) => bound,
    }
}

/// `x BETWEEN SYMMETRIC a AND b`: in either order of the bounds.
fn symmetric(parser: &mut Parser, left: Expr, negated: bool) -> Result<Expr, ParserError> {
    for _ in 0..2 + usize::from(negated) {
        parser.advance_token();
    }
    let Expr::Between { expr, low, high, .. } = parser.parse_between(left, false)? else {
        return Err(ParserError::ParserError("BETWEEN without bounds".to_owned()));
    };
    let (low, high) = (delimited(low), delimited(high));
    let between =
        |low: Box<Expr>, high: Box<Expr>| Box::new(Expr::Between { expr: expr.clone(), negated: false, low, high });
    let (left, right) = (between(low.clone(), high.clone()), between(high, low));
    let either = Expr::Nested(Box::new(Expr::BinaryOp { left, op: BinaryOperator::Or, right }));
    Ok(match negated {
        false => either,
        true => Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Not, expr: Box::new(either) },
    })
}
