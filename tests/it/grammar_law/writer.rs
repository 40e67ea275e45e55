//! Random queries from the whole grammar: what stands in FROM, the clauses, queries in queries, set operations.
//!
//! A query knows the types of its columns, so that what is written around it is typed, too, and in which other form it may run:
//! as a stream's query, as a table's, or over history only.

use super::relations::{Relation, source};
use crate::batches::Dice;
use crate::expressions::Writer as Expressions;
use tidegate::functions::{Entry, Overload};
use tidegate::types::SqlType::{self, Bigint, Boolean, Double, Integer, String as Text};

/// Columns by name and type.
pub(crate) type Columns = Vec<(String, SqlType)>;

/// How else a query may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Over history only.
    History,
    /// Rows as they come.
    Rows,
    /// The last row of each key; the first so many columns are the key.
    Table(usize),
}

/// A query.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) text: String,
    /// Before it, within WITH.
    pub(crate) with: Vec<(String, String)>,
    pub(crate) columns: Columns,
    pub(crate) form: Form,
    /// It ends with ORDER BY or LIMIT, behind which nothing may follow.
    pub(crate) is_closed: bool,
    /// Every row comes of one row of `s`: a condition on ROWTIME, put in the place of [`SPLIT`], splits it.
    pub(crate) splits: bool,
    /// Its values can be written as JSON.
    pub(crate) is_plain: bool,
    /// Its groups may lose all their rows: a continuous query keeps them, and the last column counts 0 there.
    pub(crate) keeps_empty: bool,
}

/// Where a condition on the rows of `s` may stand.
pub(crate) const SPLIT: &str = "/*split*/";

impl Query {
    /// The whole text.
    pub(crate) fn sql(&self) -> String {
        let with: Vec<String> = self.with.iter().map(|(name, query)| format!("{name} AS ({query})")).collect();
        if with.is_empty() { self.text.clone() } else { format!("WITH {} {}", with.join(", "), self.text) }
    }
}

/// Writes queries.
pub(crate) struct Writer<'a> {
    pub(crate) dice: Dice,
    overloads: &'a [(&'static Entry, &'static Overload)],
    names: usize,
    pub(super) with: Vec<(String, String)>,
    /// Sources have one partition: the order of rows is known everywhere.
    pub(crate) ordered: bool,
    /// Nothing is written that JSON cannot hold.
    is_plain: bool,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(seed: u64, ordered: bool, overloads: &'a [(&'static Entry, &'static Overload)]) -> Writer<'a> {
        Writer { dice: Dice(seed), overloads, names: 0, with: Vec::new(), ordered, is_plain: true }
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.dice.below(of.len() as i64) as usize].clone()
    }

    pub(super) fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    /// A whole query.
    pub(crate) fn query(&mut self) -> Query {
        self.is_plain = self.dice.one_in(2);
        let mut query = match self.dice.below(10) {
            0 => self.set_operation(),
            _ => self.select(2),
        };
        if query.form == Form::History && self.dice.one_in(6) {
            // A total order: which rows LIMIT keeps is known.
            let all: Vec<String> = (1..=query.columns.len()).map(|i| i.to_string()).collect();
            let direction = self.pick(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
            let (limit, offset) = (self.dice.below(12), self.dice.below(5));
            query.text += &format!(" ORDER BY {}{direction} LIMIT {limit} OFFSET {offset}", all.join(", "));
            (query.is_closed, query.splits) = (true, false);
        }
        query.with = std::mem::take(&mut self.with);
        query.is_plain = self.is_plain;
        query
    }

    fn set_operation(&mut self) -> Query {
        let types: Vec<SqlType> = (0..1 + self.dice.below(3)).map(|_| self.scalar()).collect();
        let (left, right) = (self.typed(&types), self.typed(&types));
        let operation = self.pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "UNION DISTINCT"]);
        let mut text = format!("{left} {operation} {right}");
        if self.dice.one_in(3) {
            text = format!("({text}) UNION ALL {}", self.typed(&types));
        }
        let columns = types.into_iter().enumerate().map(|(i, ty)| (format!("x{i}"), ty)).collect();
        self.over_history(text, columns)
    }

    /// A SELECT of columns of these types.
    fn typed(&mut self, types: &[SqlType]) -> String {
        let from = self.from(1);
        let items: Vec<String> = types
            .iter()
            .enumerate()
            .map(|(i, ty)| format!("CAST({} AS {ty}) AS x{i}", self.expression(&from.columns, ty)))
            .collect();
        let condition = self.condition(&from.columns, 1);
        format!("SELECT {} FROM {} WHERE {condition}", items.join(", "), from.text)
    }

    fn over_history(&self, text: String, columns: Columns) -> Query {
        Query {
            text,
            with: Vec::new(),
            columns,
            form: Form::History,
            is_closed: false,
            splits: false,
            is_plain: self.is_plain,
            keeps_empty: false,
        }
    }

    /// A SELECT; queries in it go so deep.
    pub(super) fn select(&mut self, depth: u32) -> Query {
        match self.dice.below(7) {
            0 | 1 => self.grouped(depth),
            2 => self.windowed(depth),
            3 => self.grouping_sets(depth),
            _ => self.rows(depth),
        }
    }

    /// SELECT without groups.
    fn rows(&mut self, depth: u32) -> Query {
        let from = self.from(depth);
        let (mut items, mut columns) = (Vec::new(), Columns::new());
        if let Some(key) = from.key {
            items.push(format!("{key} AS kk"));
            columns.push(("kk".to_owned(), type_of(&from.columns, key)));
        }
        for _ in 0..1 + self.dice.below(3) {
            let ty = self.any();
            let name = self.name("c");
            items.push(format!("{} AS {name}", self.expression(&from.columns, &ty)));
            columns.push((name, ty));
        }
        let (condition, is_batch) = self.where_(&from, depth);
        let distinct = from.form == Form::History && self.dice.one_in(5);
        let form = match from.form {
            _ if is_batch || distinct || from.key.is_none() => Form::History,
            other => other,
        };
        let distinct = if distinct { "DISTINCT " } else { "" };
        let text = format!("SELECT {distinct}{} FROM {}{condition}", items.join(", "), from.text);
        Query { form, splits: from.splits && !is_batch && distinct.is_empty(), ..self.over_history(text, columns) }
    }

    /// GROUP BY, perhaps by windows of time.
    fn grouped(&mut self, depth: u32) -> Query {
        let from = self.from(depth);
        let is_stream = from.form == Form::Rows;
        let window = if is_stream && self.dice.one_in(2) { self.window() } else { String::new() };
        let (mut items, mut columns, mut keys) = (Vec::new(), Columns::new(), Vec::new());
        for _ in 0..1 + self.dice.below(2) {
            let ty = self.pick(&[Integer, Text, Bigint]);
            let key = self.simple(&from.columns, &ty);
            if keys.contains(&key) || self.is_constant(&from.columns, &key) {
                continue;
            }
            let name = self.name("g");
            items.push(format!("{key} AS {name}"));
            columns.push((name, ty));
            keys.push(key);
        }
        if keys.is_empty() {
            let (name, ty) = from.columns[0].clone();
            items.push(format!("{name} AS g0"));
            columns.push(("g0".to_owned(), ty));
            keys.push(name);
        }
        if !window.is_empty() {
            items.extend(["WINDOWSTART AS ws".to_owned(), "WINDOWEND AS we".to_owned()]);
            columns.extend([("ws".to_owned(), Bigint), ("we".to_owned(), Bigint)]);
        }
        let key_columns = columns.len();
        let of_table = matches!(from.form, Form::Table(_));
        let is_batch_call = from.form == Form::History || self.dice.one_in(4);
        for _ in 0..1 + self.dice.below(2) {
            let (call, ty) = self.aggregate(&from.columns, is_batch_call, of_table);
            let name = self.name("c");
            items.push(format!("{call} AS {name}"));
            columns.push((name, ty));
        }
        let keeps_empty = of_table && !is_batch_call;
        if keeps_empty {
            items.push("COUNT(*) AS cz".to_owned());
            columns.push(("cz".to_owned(), Bigint));
        }
        let (condition, is_batch) = self.where_(&from, depth);
        let having = match self.dice.below(3) {
            0 => format!(" HAVING COUNT(*) > {}", self.dice.below(4)),
            1 if !is_batch_call => String::new(),
            1 => format!(" HAVING {} IS NOT NULL", self.aggregate(&from.columns, is_batch_call, of_table).0),
            _ => String::new(),
        };
        let text = format!(
            "SELECT {} FROM {}{window}{condition} GROUP BY {}{having}",
            items.join(", "),
            from.text,
            keys.join(", ")
        );
        let form = match from.form {
            Form::History => Form::History,
            _ if is_batch || is_batch_call => Form::History,
            _ => Form::Table(key_columns),
        };
        Query { form, keeps_empty, ..self.over_history(text, columns) }
    }

    fn window(&mut self) -> String {
        // A continuous query chooses between partitions by the first record of what it has fetched from each, a query over history
        // by each record. So with a short grace rows of several partitions are late in one that are not late in the other, as
        // docs/language.md says: in 7 of 500 queries (3000..3500) with GRACE 0, all of them pushed.
        let graces: &[&str] = match self.ordered {
            true => &["", ", GRACE PERIOD 0 SECONDS", ", GRACE PERIOD 5 SECONDS"],
            false => &["", ", GRACE PERIOD 1 DAY"],
        };
        let grace = self.pick(graces);
        let window = self.pick(&[
            "TUMBLING (SIZE 10 SECONDS#)",
            "HOPPING (SIZE 20 SECONDS, ADVANCE BY 10 SECONDS#)",
            "HOPPING (SIZE 15 SECONDS, ADVANCE BY 10 SECONDS#)",
            "SESSION (3 SECONDS#)",
        ]);
        format!(" WINDOW {}", window.replace('#', grace))
    }

    /// ROLLUP, CUBE, GROUPING SETS and no GROUP BY at all.
    fn grouping_sets(&mut self, depth: u32) -> Query {
        let from = self.from(depth);
        let (condition, _) = self.where_(&from, depth);
        let (call, ty) = self.aggregate(&from.columns, true, false);
        let keys: Vec<(String, SqlType)> =
            from.columns.iter().filter(|(_, ty)| matches!(ty, Integer | Text | Bigint)).take(2).cloned().collect();
        let [(a, of_a), (b, of_b)] = &keys[..] else {
            let text = format!("SELECT {call} AS c0, COUNT(*) AS c1 FROM {}{condition}", from.text);
            return self.over_history(text, vec![("c0".to_owned(), ty), ("c1".to_owned(), Bigint)]);
        };
        let group =
            self.pick(&["ROLLUP(#)", "CUBE(#)", "GROUPING SETS ((A), (A, B), ())", "GROUPING SETS ((B), (A))", "#"]);
        let group = match self.dice.below(6) {
            0 => String::new(),
            _ => group.replace('#', "A, B"),
        };
        if group.is_empty() {
            let text = format!("SELECT {call} AS c0, COUNT(*) AS c1 FROM {}{condition}", from.text);
            return self.over_history(text, vec![("c0".to_owned(), ty), ("c1".to_owned(), Bigint)]);
        }
        let group = group.replace('A', "\u{1}").replace('B', "\u{2}");
        let group = group.replace("CU\u{2}E", "CUBE").replace('\u{1}', a).replace('\u{2}', b);
        let text = format!(
            "SELECT {a} AS g1, {b} AS g2, {call} AS c0, COUNT(*) AS c1 FROM {}{condition} GROUP BY {group}",
            from.text
        );
        let columns = vec![
            ("g1".to_owned(), of_a.clone()),
            ("g2".to_owned(), of_b.clone()),
            ("c0".to_owned(), ty),
            ("c1".to_owned(), Bigint),
        ];
        self.over_history(text, columns)
    }

    /// OVER and QUALIFY, each over a total order.
    fn windowed(&mut self, depth: u32) -> Query {
        let depth = depth.min(1);
        let from = source("s");
        let (condition, _) = self.where_(&from, depth);
        let order = self.pick(&["ROWTIME, ROWPARTITION, ROWOFFSET", "n DESC, ROWPARTITION, ROWOFFSET"]);
        let (mut items, mut columns) = (vec!["k AS kk".to_owned()], vec![("kk".to_owned(), Text)]);
        for _ in 0..1 + self.dice.below(2) {
            let (call, ty) = self.over(&from.columns, order);
            let name = self.name("c");
            items.push(format!("{call} AS {name}"));
            columns.push((name, ty));
        }
        let qualify = match self.dice.below(3) {
            0 => format!(" QUALIFY ROW_NUMBER() OVER (PARTITION BY k ORDER BY {order}) <= {}", 1 + self.dice.below(3)),
            _ => String::new(),
        };
        let text = format!("SELECT {} FROM {}{condition}{qualify}", items.join(", "), from.text);
        self.over_history(text, columns)
    }

    fn over(&mut self, columns: &Columns, order: &str) -> (String, SqlType) {
        let partition = self.pick(&["", "PARTITION BY k ", "PARTITION BY w, n "]);
        let frame = self.pick(&[
            "",
            " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
            " ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING",
            " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
        ]);
        let ty = self.pick(&[Integer, Text, Bigint]);
        let value = self.simple(columns, &ty);
        let (call, ty) = match self.dice.below(8) {
            0 => ("ROW_NUMBER()".to_owned(), Bigint),
            1 => (format!("LAG({value}, {})", 1 + self.dice.below(3)), ty),
            2 => (format!("LEAD({value})"), ty),
            3 => (format!("FIRST_VALUE({value})"), ty),
            4 => (format!("COUNT(*) FILTER (WHERE {})", self.comparison(columns)), Bigint),
            5 => ("RANK()".to_owned(), Bigint),
            6 => (format!("MIN({value}) FILTER (WHERE {})", self.comparison(columns)), ty),
            _ => (format!("MAX({value})"), ty),
        };
        (format!("{call} OVER ({partition}ORDER BY {order}{frame})"), ty)
    }

    /// An aggregate whose result depends not on the order of rows, unless that is known.
    fn aggregate(&mut self, columns: &Columns, is_batch: bool, of_table: bool) -> (String, SqlType) {
        let ty = self.pick(&[Integer, Bigint, Integer]);
        let number = self.simple(columns, &ty);
        let of_text = self.simple(columns, &Text);
        if of_table && !is_batch {
            return match self.dice.below(3) {
                0 => ("COUNT(*)".to_owned(), Bigint),
                1 => (format!("COUNT({of_text})"), Bigint),
                _ => (format!("SUM({number})"), ty),
            };
        }
        match self.dice.below(if is_batch { 13 } else { 7 }) {
            0 => ("COUNT(*)".to_owned(), Bigint),
            1 => (format!("COUNT({of_text})"), Bigint),
            2 => (format!("SUM({number})"), ty),
            3 => (format!("MIN({number})"), ty),
            4 => (format!("MAX({number})"), ty),
            5 => (format!("AVG({number})"), Double),
            6 if self.ordered => (format!("LATEST_BY_OFFSET({of_text})"), Text),
            6 => (format!("COUNT_DISTINCT({number})"), Bigint),
            7 => (format!("COUNT(DISTINCT {of_text})"), Bigint),
            8 => (format!("SUM({number}) FILTER (WHERE {})", self.comparison(columns)), ty),
            9 => (format!("STRING_AGG({of_text}, ',' ORDER BY {of_text})"), Text),
            10 => (format!("MAX({of_text})"), Text),
            11 => (format!("COUNT(*) FILTER (WHERE {})", self.comparison(columns)), Bigint),
            _ => (format!("MEDIAN({number})"), ty),
        }
    }

    fn where_(&mut self, from: &Relation, depth: u32) -> (String, bool) {
        let split = if from.splits { SPLIT } else { "" };
        if self.dice.one_in(3) {
            return (if from.splits { format!(" WHERE true{split}") } else { String::new() }, false);
        }
        let is_batch = depth > 0 && self.dice.one_in(4);
        let condition = match is_batch {
            true => self.inner(&from.columns),
            false => self.condition(&from.columns, 2),
        };
        (format!(" WHERE ({condition}){split}"), is_batch)
    }

    /// A query in a condition.
    fn inner(&mut self, columns: &Columns) -> String {
        let number = self.simple(columns, &Integer);
        let bound = self.dice.below(4);
        let not = self.pick(&["", "NOT "]);
        match self.dice.below(6) {
            0 => format!("{number} {not}IN (SELECT r.n FROM r WHERE r.n > {bound})"),
            1 => format!("{not}EXISTS (SELECT 1 FROM r WHERE r.n = {number})"),
            2 => format!("{number} > (SELECT MIN(r.n) FROM r)"),
            3 => format!("{number} = (SELECT COUNT(*) FROM r WHERE r.w = {})", self.simple(columns, &Text)),
            4 => format!("{} {not}IN (SELECT t.name FROM t)", self.simple(columns, &Text)),
            _ => {
                let (op, which) = (self.pick(&["=", "<>", "<", "<=", ">", ">="]), self.pick(&["ANY", "ALL"]));
                format!("{number} {op} {which} (SELECT v.m FROM v)")
            }
        }
    }

    fn scalar(&mut self) -> SqlType {
        self.pick(&[Integer, Bigint, Text, Boolean])
    }

    fn any(&mut self) -> SqlType {
        self.pick(&[Integer, Bigint, Text, Integer, Text, Boolean, SqlType::Array(Box::new(Integer))])
    }

    fn is_constant(&self, columns: &Columns, text: &str) -> bool {
        !columns.iter().any(|(name, _)| text.contains(name.as_str()))
    }

    /// An expression of the whole registry now and then, else one that JSON can hold.
    fn expression(&mut self, columns: &Columns, ty: &SqlType) -> String {
        if self.is_plain || self.dice.one_in(2) {
            return self.simple(columns, ty);
        }
        let mut writer = Expressions::new(&mut self.dice, columns.clone(), self.overloads);
        writer.expr(ty, 2)
    }

    /// A column or a small expression of this type.
    pub(super) fn simple(&mut self, columns: &Columns, ty: &SqlType) -> String {
        let same: Vec<String> = columns.iter().filter(|c| c.1 == *ty).map(|c| c.0.clone()).collect();
        let column = (!same.is_empty()).then(|| self.pick(&same));
        let choice = self.dice.below(7);
        match (ty, column) {
            (_, Some(column)) if choice < 4 => column,
            (Integer, Some(c)) => {
                self.pick(&["#1 + 1", "12 / #1", "CASE WHEN #1 > 1 THEN #1 ELSE 0 END", "ABS(#1)"]).replace("#1", &c)
            }
            (Integer, None) => match columns.iter().find(|c| c.1 == Text) {
                Some((name, _)) => format!("LEN({name})"),
                None => self.pick(&["1", "2", "CAST(NULL AS INT)"]).to_owned(),
            },
            (Bigint, Some(c)) => self.pick(&["#1 * 2", "#1 - 1", "COALESCE(#1, CAST(7 AS BIGINT))"]).replace("#1", &c),
            (Bigint, None) => format!("CAST({} AS BIGINT)", self.simple(columns, &Integer)),
            (Text, Some(c)) => {
                self.pick(&["UCASE(#1)", "#1 || 'q'", "SUBSTRING(#1, 1, 1)", "IFNULL(#1, 'none')"]).replace("#1", &c)
            }
            (Text, None) => format!("CAST({} AS STRING)", self.simple(columns, &Integer)),
            (Boolean, _) => self.comparison(columns),
            (SqlType::Array(_), Some(c)) => format!("TRANSFORM({c}, x => x * 2)"),
            (SqlType::Array(_), None) => format!("ARRAY[{}, 1]", self.simple(columns, &Integer)),
            (other, Some(c)) => format!("CAST({c} AS {other})"),
            (other, None) => format!("CAST({} AS {other})", self.simple(columns, &Integer)),
        }
    }

    fn comparison(&mut self, columns: &Columns) -> String {
        let op = self.pick(&["=", "<>", "<", ">="]);
        match self.dice.below(5) {
            0 => format!("{} IS NOT NULL", self.simple(columns, &Text)),
            1 => format!("{} {op} 'x'", self.simple(columns, &Text)),
            2 => format!("{} BETWEEN 0 AND {}", self.simple(columns, &Integer), self.dice.below(5)),
            _ => format!("{} {op} {}", self.simple(columns, &Integer), self.dice.below(4)),
        }
    }

    pub(crate) fn condition(&mut self, columns: &Columns, depth: u32) -> String {
        if depth == 0 {
            return self.comparison(columns);
        }
        match self.dice.below(8) {
            0 => format!("NOT ({})", self.condition(columns, depth - 1)),
            1 => format!("({}) AND ({})", self.condition(columns, depth - 1), self.condition(columns, depth - 1)),
            2 => format!("({}) OR ({})", self.condition(columns, depth - 1), self.condition(columns, depth - 1)),
            3 if !self.is_plain => Expressions::new(&mut self.dice, columns.clone(), self.overloads).condition(1),
            _ => self.comparison(columns),
        }
    }
}

pub(super) fn is_scalar(ty: &SqlType) -> bool {
    matches!(ty, Integer | Bigint | Text | Boolean)
}

fn type_of(columns: &Columns, name: &str) -> SqlType {
    columns.iter().find(|c| c.0 == name).map_or(Text, |c| c.1.clone())
}
