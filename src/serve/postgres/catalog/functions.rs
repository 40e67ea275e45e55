//! Postgres's functions that clients call beside their queries, as functions of DataFusion: a row at a time, because the
//! catalogue is small.

use super::facts::{Facts, oid_of, system_oid, type_name, type_number};
use super::keys::{index_definition, key_name, source_of_key};
use crate::serve::postgres::names::{shown, source_name};
use crate::serve::postgres::settings::SERVER_VERSION;
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What a function returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Returns {
    Text,
    Number,
    Truth,
    Texts,
}

/// Functions of DataFusion that tools try a connection with, and other names of `now`.
const CLOCK: [&str; 3] = ["now", "current_timestamp", "current_date"];
pub(super) const NOW: [&str; 3] = ["clock_timestamp", "statement_timestamp", "transaction_timestamp"];

type Body = fn(&Facts, &[ScalarValue]) -> ScalarValue;

/// Name, result and body of each.
const FUNCTIONS: &[(&str, Returns, Body)] = &[
    ("version", Returns::Text, |_, _| text(format!("PostgreSQL {SERVER_VERSION}, wire protocol of Tidegate"))),
    ("current_database", Returns::Text, |facts, _| text(&*facts.database)),
    ("current_catalog", Returns::Text, |facts, _| text(&*facts.database)),
    ("current_schema", Returns::Text, |_, _| text("public")),
    ("current_schemas", Returns::Texts, |_, arguments| {
        let implicit = matches!(arguments.first(), Some(ScalarValue::Boolean(Some(true))));
        texts(if implicit { &["pg_catalog", "public"] } else { &["public"] })
    }),
    ("current_user", Returns::Text, |facts, _| text(&*facts.user)),
    ("session_user", Returns::Text, |facts, _| text(&*facts.user)),
    ("user", Returns::Text, |facts, _| text(&*facts.user)),
    ("current_role", Returns::Text, |facts, _| text(&*facts.user)),
    ("current_setting", Returns::Text, |facts, arguments| setting(facts, arguments)),
    ("set_config", Returns::Text, |_, arguments| arguments.get(1).cloned().unwrap_or(NO_TEXT)),
    ("pg_backend_pid", Returns::Number, |facts, _| number(i64::from(facts.process))),
    ("pg_is_in_recovery", Returns::Truth, |_, _| truth(false)),
    ("pg_is_wal_replay_paused", Returns::Truth, |_, _| truth(false)),
    ("pg_postmaster_start_time", Returns::Text, |_, _| NO_TEXT),
    ("pg_conf_load_time", Returns::Text, |_, _| NO_TEXT),
    ("txid_current", Returns::Number, |_, _| number(1)),
    ("pg_get_userbyid", Returns::Text, |facts, _| text(&*facts.user)),
    ("pg_table_is_visible", Returns::Truth, |_, _| truth(true)),
    ("pg_type_is_visible", Returns::Truth, |_, _| truth(true)),
    ("pg_function_is_visible", Returns::Truth, |_, _| truth(true)),
    ("pg_operator_is_visible", Returns::Truth, |_, _| truth(true)),
    ("pg_collation_is_visible", Returns::Truth, |_, _| truth(true)),
    ("format_type", Returns::Text, |_, arguments| match integer(arguments, 0) {
        Some(ty) => text(type_name(ty, integer(arguments, 1))),
        None => NO_TEXT,
    }),
    ("pg_get_expr", Returns::Text, |_, _| NO_TEXT),
    ("pg_get_constraintdef", Returns::Text, |facts, arguments| {
        key_text(facts, arguments, |source| {
            let columns = super::facts::attributes(source).into_iter().filter(|column| column.is_key);
            format!("PRIMARY KEY ({})", columns.map(|column| column.name).collect::<Vec<_>>().join(", "))
        })
    }),
    ("pg_get_indexdef", Returns::Text, |facts, arguments| match integer(arguments, 1).filter(|column| *column > 0) {
        None => key_text(facts, arguments, index_definition),
        Some(column) => key_text(facts, arguments, |source| {
            let mut keys = super::facts::attributes(source).into_iter().filter(|column| column.is_key);
            keys.nth(column as usize - 1).map(|key| key.name).unwrap_or_default()
        }),
    }),
    ("pg_get_viewdef", Returns::Text, |_, _| NO_TEXT),
    ("pg_get_ruledef", Returns::Text, |_, _| NO_TEXT),
    ("pg_get_triggerdef", Returns::Text, |_, _| NO_TEXT),
    ("pg_get_partkeydef", Returns::Text, |_, _| NO_TEXT),
    ("pg_get_statisticsobjdef_columns", Returns::Text, |_, _| NO_TEXT),
    ("pg_get_serial_sequence", Returns::Text, |_, _| NO_TEXT),
    ("pg_get_function_result", Returns::Text, |facts, arguments| of_function(facts, arguments, |f| f.returns.clone())),
    ("pg_get_function_arguments", Returns::Text, |facts, arguments| {
        of_function(facts, arguments, |f| f.arguments.clone())
    }),
    ("pg_get_function_identity_arguments", Returns::Text, |facts, arguments| {
        of_function(facts, arguments, |f| f.arguments.clone())
    }),
    ("pg_get_functiondef", Returns::Text, |facts, arguments| of_function(facts, arguments, |f| f.description.clone())),
    ("pg_encoding_to_char", Returns::Text, |_, _| text("UTF8")),
    ("pg_char_to_encoding", Returns::Number, |_, _| number(6)),
    ("pg_relation_size", Returns::Number, |_, _| number(0)),
    ("pg_total_relation_size", Returns::Number, |_, _| number(0)),
    ("pg_table_size", Returns::Number, |_, _| number(0)),
    ("pg_indexes_size", Returns::Number, |_, _| number(0)),
    ("pg_database_size", Returns::Number, |_, _| number(0)),
    ("pg_size_pretty", Returns::Text, |_, arguments| text(format!("{} bytes", integer(arguments, 0).unwrap_or(0)))),
    ("pg_stat_get_numscans", Returns::Number, |_, _| number(0)),
    ("pg_relation_is_publishable", Returns::Truth, |_, _| truth(false)),
    ("pg_relation_filenode", Returns::Number, |_, arguments| number(integer(arguments, 0).unwrap_or(0))),
    ("pg_my_temp_schema", Returns::Number, |_, _| number(0)),
    ("pg_is_other_temp_schema", Returns::Truth, |_, _| truth(false)),
    ("pg_tablespace_location", Returns::Text, |_, _| text("")),
    ("obj_description", Returns::Text, |facts, arguments| described(facts, arguments)),
    ("col_description", Returns::Text, |_, _| NO_TEXT),
    ("shobj_description", Returns::Text, |_, _| NO_TEXT),
    ("has_schema_privilege", Returns::Truth, |_, _| truth(true)),
    ("has_table_privilege", Returns::Truth, |_, _| truth(true)),
    ("has_database_privilege", Returns::Truth, |_, _| truth(true)),
    ("has_any_column_privilege", Returns::Truth, |_, _| truth(true)),
    ("has_column_privilege", Returns::Truth, |_, _| truth(true)),
    ("has_function_privilege", Returns::Truth, |_, _| truth(true)),
    ("has_sequence_privilege", Returns::Truth, |_, _| truth(false)),
    ("pg_has_role", Returns::Truth, |_, _| truth(true)),
    ("row_security_active", Returns::Truth, |_, _| truth(false)),
    ("quote_ident", Returns::Text, |_, arguments| quoted(arguments)),
    ("quote_literal", Returns::Text, |_, arguments| {
        string(arguments, 0).map_or(NO_TEXT, |t| text(format!("'{}'", t.replace('\'', "''"))))
    }),
    ("format", Returns::Text, |_, arguments| formatted(arguments)),
    ("inet_server_addr", Returns::Text, |_, _| NO_TEXT),
    ("inet_server_port", Returns::Number, |_, _| ScalarValue::Int64(None)),
    ("inet_client_addr", Returns::Text, |_, _| NO_TEXT),
    ("pg_typeof", Returns::Text, |_, arguments| {
        text(arguments.first().map_or("unknown".to_owned(), |v| kind(&v.data_type())))
    }),
    ("age", Returns::Number, |_, _| number(0)),
    ("pg_advisory_lock", Returns::Text, |_, _| text("")),
    ("pg_advisory_unlock_all", Returns::Text, |_, _| text("")),
    ("pg_advisory_unlock", Returns::Truth, |_, _| truth(true)),
    ("pg_try_advisory_lock", Returns::Truth, |_, _| truth(true)),
    // What ARRAY(SELECT ...) is: of tables that are empty.
    ("tidegate_no_texts", Returns::Texts, |_, _| texts(&[])),
    // What the rewriting of casts to regclass, regtype and regproc calls.
    ("tidegate_regclass_oid", Returns::Number, |facts, arguments| match string(arguments, 0) {
        Some(name) => class_number(facts, &name).map_or(ScalarValue::Int64(None), number),
        None => ScalarValue::Int64(None),
    }),
    ("to_regclass", Returns::Number, |facts, arguments| match string(arguments, 0) {
        Some(name) => class_number(facts, &name).map_or(ScalarValue::Int64(None), number),
        None => ScalarValue::Int64(None),
    }),
    ("tidegate_regclass", Returns::Text, |facts, arguments| match integer(arguments, 0) {
        Some(oid) => text(class_name(facts, oid)),
        None => string(arguments, 0).map_or(NO_TEXT, text),
    }),
    ("tidegate_regtype_oid", Returns::Number, |_, arguments| match string(arguments, 0) {
        Some(name) => number(i64::from(type_number(&name))),
        None => ScalarValue::Int64(None),
    }),
    ("to_regtype", Returns::Number, |_, arguments| match string(arguments, 0) {
        Some(name) => Some(type_number(&name))
            .filter(|oid| *oid != 0)
            .map_or(ScalarValue::Int64(None), |oid| number(i64::from(oid))),
        None => ScalarValue::Int64(None),
    }),
    ("tidegate_regtype", Returns::Text, |_, arguments| match integer(arguments, 0) {
        Some(oid) => text(type_name(oid, None)),
        None => string(arguments, 0).map_or(NO_TEXT, text),
    }),
];

const NO_TEXT: ScalarValue = ScalarValue::Utf8(None);

fn text(value: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(value.into()))
}

fn number(value: i64) -> ScalarValue {
    ScalarValue::Int64(Some(value))
}

fn truth(value: bool) -> ScalarValue {
    ScalarValue::Boolean(Some(value))
}

fn texts(values: &[&str]) -> ScalarValue {
    let values: Vec<ScalarValue> = values.iter().map(|value| text(*value)).collect();
    ScalarValue::List(ScalarValue::new_list(&values, &DataType::Utf8, true))
}

fn integer(arguments: &[ScalarValue], at: usize) -> Option<i64> {
    match arguments.get(at)?.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(value) => value,
        _ => None,
    }
}

fn string(arguments: &[ScalarValue], at: usize) -> Option<String> {
    match arguments.get(at)?.cast_to(&DataType::Utf8).ok()? {
        ScalarValue::Utf8(value) => value,
        _ => None,
    }
}

fn setting(facts: &Facts, arguments: &[ScalarValue]) -> ScalarValue {
    let wanted = string(arguments, 0).unwrap_or_default();
    let found = facts.settings.iter().find(|(name, _)| name.eq_ignore_ascii_case(&wanted));
    found.map_or(NO_TEXT, |(_, value)| text(&**value))
}

fn key_text(facts: &Facts, arguments: &[ScalarValue], of: impl Fn(&crate::catalog::Source) -> String) -> ScalarValue {
    let source = integer(arguments, 0).and_then(|number| source_of_key(facts, number));
    source.map_or(NO_TEXT, |source| text(of(source)))
}

fn of_function(
    facts: &Facts,
    arguments: &[ScalarValue],
    of: impl Fn(&super::facts::Function) -> String,
) -> ScalarValue {
    let wanted = integer(arguments, 0);
    let found = facts.functions.iter().find(|f| wanted == Some(i64::from(oid_of(&format!("{}()", f.name)))));
    found.map_or(NO_TEXT, |function| text(of(function)))
}

fn described(facts: &Facts, arguments: &[ScalarValue]) -> ScalarValue {
    let of_tables = string(arguments, 1).is_none_or(|catalog| catalog == "pg_class");
    let source = integer(arguments, 0).filter(|_| of_tables).and_then(|number| facts.source(number));
    source.map_or(NO_TEXT, |source| text(super::facts::description(source)))
}

/// A name in double quotes where SQL needs them.
fn quoted(arguments: &[ScalarValue]) -> ScalarValue {
    let Some(name) = string(arguments, 0) else { return NO_TEXT };
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    match plain && !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() {
        true => text(name),
        false => text(format!("\"{}\"", name.replace('"', "\"\""))),
    }
}

/// `format('%s.%I', ...)`
fn formatted(arguments: &[ScalarValue]) -> ScalarValue {
    let Some(pattern) = string(arguments, 0) else { return NO_TEXT };
    let (mut out, mut next, mut chars) = (String::new(), 1, pattern.chars());
    while let Some(c) = chars.next() {
        match (c, if c == '%' { chars.next() } else { None }) {
            ('%', Some('%')) => out.push('%'),
            ('%', Some(how)) => {
                let value = arguments.get(next..=next).unwrap_or_default();
                next += 1;
                let shown = if how == 'I' { quoted(value) } else { string(value, 0).map_or(NO_TEXT, text) };
                out.push_str(&string(&[shown], 0).unwrap_or_default());
            }
            (c, _) => out.push(c),
        }
    }
    text(out)
}

fn kind(ty: &DataType) -> String {
    match ty {
        DataType::Boolean => "boolean",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::Float64 => "double precision",
        DataType::List(_) => "anyarray",
        _ => "text",
    }
    .to_owned()
}

/// The number of a table by its name, with a schema or without, or written as a number.
fn class_number(facts: &Facts, name: &str) -> Option<i64> {
    if let Ok(number) = name.trim().parse() {
        return Some(number);
    }
    let bare = name.rsplit('.').next().unwrap_or(name).trim_matches('"');
    let source = source_name(&facts.catalog, bare);
    if facts.catalog.source(&source).is_some() {
        return Some(i64::from(oid_of(&source)));
    }
    (name.contains("pg_")).then(|| i64::from(system_oid(bare)))
}

fn class_name(facts: &Facts, number: i64) -> String {
    match (facts.source(number), source_of_key(facts, number)) {
        (Some(source), _) => shown(&source.name).into_owned(),
        (None, Some(source)) => key_name(source),
        (None, None) => number.to_string(),
    }
}

/// One of them.
#[derive(Debug)]
struct Function {
    name: &'static str,
    returns: Returns,
    body: Body,
    facts: Arc<Facts>,
    signature: Signature,
}

impl PartialEq for Function {
    fn eq(&self, other: &Function) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.facts, &other.facts)
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.returns {
            Returns::Text => DataType::Utf8,
            Returns::Number => DataType::Int64,
            Returns::Truth => DataType::Boolean,
            Returns::Texts => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalars: Option<Vec<ScalarValue>> = arguments
            .args
            .iter()
            .map(|argument| match argument {
                ColumnarValue::Scalar(value) => Some(value.clone()),
                ColumnarValue::Array(_) => None,
            })
            .collect();
        if let Some(scalars) = scalars {
            return Ok(ColumnarValue::Scalar((self.body)(&self.facts, &scalars)));
        }
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let row = |at: usize| -> Result<ScalarValue> {
            let values: Result<Vec<_>> =
                arrays.iter().map(|array: &ArrayRef| ScalarValue::try_from_array(array, at)).collect();
            Ok((self.body)(&self.facts, &values?))
        };
        let rows = arrays.first().map_or(0, |array| array.len());
        if rows == 0 {
            let ty = self.return_type(&[])?;
            return Ok(ColumnarValue::Array(arrow::array::new_empty_array(&ty)));
        }
        let values = (0..rows).map(row).collect::<Result<Vec<_>>>()?;
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(values)?))
    }
}

/// Whether a client's function is one of these.
pub(super) fn is_known(name: &str) -> bool {
    FUNCTIONS.iter().any(|(own, _, _)| *own == name) || CLOCK.contains(&name) || NOW.contains(&name)
}

/// All of them, over these facts.
pub(super) fn all(facts: &Arc<Facts>) -> impl Iterator<Item = ScalarUDF> {
    FUNCTIONS.iter().map(|(name, returns, body)| {
        let signature = Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], Volatility::Stable);
        ScalarUDF::from(Function { name, returns: *returns, body: *body, facts: facts.clone(), signature })
    })
}
