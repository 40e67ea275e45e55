//! A statement of every kind, drawn by chance, reads back as it prints.

use crate::batches::Dice;
use crate::expressions::{Writer, overloads};
use std::collections::BTreeSet;
use tidegate::parse::parse;
use tidegate::parse::statement::Statement;
use tidegate::types::SqlType;

/// Statements of each kind.
const EACH: u64 = 60;

/// Every kind of statement but those that are only known by name.
const KINDS: [&str; 26] = [
    "CreateSource",
    "CreateAs",
    "InsertValues",
    "InsertSelect",
    "Select",
    "Relational",
    "CreateType",
    "DropType",
    "Drop",
    "Alter",
    "AssertTopic",
    "AssertSchema",
    "Terminate",
    "Pause",
    "Resume",
    "Show",
    "Describe",
    "DescribeFunction",
    "ExplainQuery",
    "Explain",
    "Set",
    "Unset",
    "Define",
    "Undefine",
    "Print",
    "Join",
];

struct Author<'a>(&'a mut Dice);

impl Author<'_> {
    fn pick(&mut self, of: &[&str]) -> String {
        of[self.0.below(of.len() as i64) as usize].to_owned()
    }

    fn maybe(&mut self, text: impl Into<String>) -> String {
        if self.0.one_in(2) { text.into() } else { String::new() }
    }

    fn name(&mut self) -> String {
        self.pick(&[
            "a",
            "Car",
            "x_1",
            "`b c`",
            "`Mixed`",
            "\"q\"\"q\"",
            "`select`",
            "`b``t`",
            "date",
            "rows",
            "`1a`",
            "`é`",
        ])
    }

    fn text(&mut self) -> String {
        self.pick(&["''", "'a'", "'it''s'", "'${x'", "'a;b'", "'--c'", "'é😀'", "' '", "'\n'"])
    }

    fn ty(&mut self, depth: u32) -> String {
        let plain = [
            "INT",
            "bigint",
            "DOUBLE",
            "VARCHAR",
            "STRING",
            "BOOLEAN",
            "BYTES",
            "DATE",
            "TIME",
            "TIMESTAMP",
            "DECIMAL(9, 2)",
        ];
        match self.0.below(if depth == 0 { 1 } else { 5 }) {
            1 => format!("ARRAY<{}>", self.ty(depth - 1)),
            2 => format!("MAP<STRING, {}>", self.ty(depth - 1)),
            3 => format!("STRUCT<f {}, `g h` {}>", self.ty(depth - 1), self.ty(depth - 1)),
            _ => self.pick(&plain),
        }
    }

    fn columns(&mut self) -> String {
        let columns: Vec<String> = (0..1 + self.0.below(4))
            .map(|i| {
                let role = self.pick(&["", "", " KEY", " PRIMARY KEY", " HEADERS", " HEADER('k''s')"]);
                format!("c{i} {}{role}", self.ty(2))
            })
            .collect();
        format!(" ({})", columns.join(", "))
    }

    fn with(&mut self) -> String {
        let all: Vec<String> = (0..1 + self.0.below(3))
            .map(|i| {
                let value = match self.0.below(4) {
                    0 => self.pick(&["1", "-5", "1.5"]),
                    1 => self.pick(&["true", "FALSE"]),
                    _ => self.text(),
                };
                format!("p{i}={value}")
            })
            .collect();
        format!(" WITH ({})", all.join(", "))
    }

    fn expr(&mut self) -> String {
        let scope = vec![("a".to_owned(), SqlType::Integer), ("s.`b c`".to_owned(), SqlType::String)];
        let overloads = overloads();
        let mut writer = Writer::new(self.0, scope, &overloads);
        let ty = [SqlType::Integer, SqlType::String, SqlType::Boolean, SqlType::Array(Box::new(SqlType::Integer))];
        let ty = ty[writer.dice.below(4) as usize].clone();
        writer.expr(&ty, 3)
    }

    fn duration(&mut self) -> String {
        format!("{} {}", 1 + self.0.below(100), self.pick(&["DAYS", "HOUR", "MINUTES", "SECOND", "MILLISECONDS"]))
    }

    fn window(&mut self) -> String {
        let (size, more) = (self.duration(), self.duration());
        let tail = self.pick(&[
            "",
            ", RETENTION 90 DAYS",
            ", GRACE PERIOD 1 HOUR",
            ", RETENTION 90 DAYS, GRACE PERIOD 0 SECONDS",
        ]);
        let name = self.pick(&["", "w "]);
        match self.0.below(3) {
            0 => format!(" WINDOW {name}TUMBLING (SIZE {size}{tail})"),
            1 => format!(" WINDOW {name}HOPPING (SIZE {size}, ADVANCE BY {more}{tail})"),
            _ => format!(" WINDOW {name}SESSION ({size}{tail})"),
        }
    }

    fn join(&mut self) -> String {
        let kind = self.pick(&["", "INNER ", "LEFT ", "LEFT OUTER ", "RIGHT ", "FULL OUTER "]);
        let within = match self.0.below(3) {
            0 => String::new(),
            1 => format!(" WITHIN {}", self.duration()),
            _ => format!(" WITHIN ({}, {}) GRACE PERIOD {}", self.duration(), self.duration(), self.duration()),
        };
        format!(" {kind}JOIN {} AS j{within} ON {} = {}", self.name(), self.expr(), self.expr())
    }

    fn select(&mut self, joins: bool) -> String {
        let items: Vec<String> = (0..1 + self.0.below(4))
            .map(|i| match self.0.below(6) {
                0 => "*".to_owned(),
                1 => "s.*".to_owned(),
                2 => format!("{}->*", self.pick(&["st", "s.st"])),
                3 => self.expr(),
                _ => format!("{} AS x{i}", self.expr()),
            })
            .collect();
        let joined = if joins { self.join() } else { String::new() };
        let window = self.window();
        let (filter, group, having) = (self.expr(), self.expr(), self.expr());
        [
            format!("SELECT {} FROM {} s{joined}", items.join(", "), self.name()),
            self.maybe(window),
            self.maybe(format!(" WHERE {filter}")),
            self.maybe(format!(" GROUP BY {group}, a")),
            self.maybe(format!(" PARTITION BY {group}")),
            self.maybe(format!(" HAVING {having}")),
        ]
        .concat()
    }

    fn statement(&mut self, kind: &str) -> String {
        let (name, noun) = (self.name(), self.pick(&["STREAM", "TABLE"]));
        match kind {
            "CreateSource" => format!(
                "CREATE {}{}{noun} {}{name}{}{}",
                self.pick(&["", "OR REPLACE "]),
                self.pick(&["", "SOURCE "]),
                self.pick(&["", "IF NOT EXISTS "]),
                self.columns(),
                self.with()
            ),
            "CreateAs" => {
                let with = self.with();
                format!(
                    "CREATE {}{noun} {name}{} AS {}{}",
                    self.pick(&["", "OR REPLACE "]),
                    self.maybe(with),
                    self.select(false),
                    self.pick(&["", " EMIT CHANGES", " EMIT FINAL"])
                )
            }
            "InsertValues" => format!("INSERT INTO {name} (a, `b c`) VALUES ({}, {})", self.expr(), self.expr()),
            "InsertSelect" => {
                let with = self.with();
                format!("INSERT INTO {name}{} {}", self.maybe(with), self.select(false))
            }
            "Select" => format!("{} EMIT CHANGES{}", self.select(false), self.pick(&["", " LIMIT 3"])),
            "Join" => format!("{} EMIT CHANGES", self.select(true)),
            "Relational" => {
                let selects = [
                    "SELECT a, b -> c -> d FROM s WHERE a LIKE '%@#'",
                    "SELECT TRANSFORM(a, x => x + 1) AS a FROM s t WINDOW SESSION (10 SECONDS) GROUP BY a",
                    "SELECT *, CAST(m AS MAP<STRING, INT>) FROM `x y` LEFT JOIN t ON a = b",
                    "SELECT RANK() OVER (ORDER BY a), (SELECT 1) AS x FROM a, b CROSS JOIN LATERAL (SELECT 1) AS c (d)",
                    "SELECT a FROM s WHERE a IN (SELECT b FROM t) OR NOT EXISTS (SELECT * FROM u WHERE (SELECT 1) > 2)",
                ];
                let (inner, other) = (self.pick(&selects), self.pick(&selects));
                let around = self.pick(&["$1", "SELECT * FROM ($1) AS q", "WITH q AS ($1) SELECT DISTINCT a FROM q"]);
                let set = self.pick(&["", " UNION ALL $2", " EXCEPT $2 INTERSECT ALL $2", " UNION ($2 LIMIT 2)"]);
                let order =
                    self.pick(&[" ORDER BY a", " ORDER BY 1 DESC NULLS LAST, a + 1 LIMIT 3 OFFSET 4", " OFFSET 1"]);
                format!("{around}{set}{order}").replace("$1", &inner).replace("$2", &other)
            }
            "CreateType" => format!("CREATE TYPE {}{name} AS {}", self.pick(&["", "IF NOT EXISTS "]), self.ty(3)),
            "DropType" => format!("DROP TYPE {}{name}", self.pick(&["", "IF EXISTS "])),
            "Drop" => {
                format!("DROP {noun} {}{name}{}", self.pick(&["", "IF EXISTS "]), self.pick(&["", " DELETE TOPIC"]))
            }
            "Alter" => format!("ALTER {noun} {name} ADD COLUMN {} {}, ADD y INT", self.name(), self.ty(2)),
            "AssertTopic" => {
                let (with, wait) = (self.with(), format!(" TIMEOUT {}", self.duration()));
                let (with, wait) = (self.maybe(with), self.maybe(wait));
                format!(
                    "ASSERT {}TOPIC {}{with}{wait}",
                    self.pick(&["", "NOT EXISTS "]),
                    self.pick(&["a-b.c", "'x y'", "`T`"])
                )
            }
            "AssertSchema" => {
                let wait = format!(" TIMEOUT {}", self.duration());
                let what = self.pick(&["SUBJECT a-b.c", "SUBJECT 'x y'", "ID 0", "SUBJECT `T` ID 17"]);
                format!("ASSERT {}SCHEMA {what}{}", self.pick(&["", "NOT EXISTS "]), self.maybe(wait))
            }
            "Terminate" | "Pause" | "Resume" => format!("{kind} {}", self.pick(&["ALL", "CSAS_A_1", "`x y`"])),
            "Show" => self.pick(&[
                "SHOW STREAMS EXTENDED",
                "LIST TABLES",
                "SHOW ALL TOPICS",
                "SHOW QUERIES",
                "show functions",
                "SHOW TYPES",
                "SHOW VARIABLES",
                "SHOW PROPERTIES",
                "DESCRIBE STREAMS",
            ]),
            "Describe" => format!("DESCRIBE {name}{}", self.pick(&["", " EXTENDED"])),
            "DescribeFunction" => format!("DESCRIBE FUNCTION {name}"),
            "ExplainQuery" => format!("EXPLAIN {name}"),
            "Explain" => format!("EXPLAIN {} EMIT CHANGES", self.select(false)),
            "Set" => format!("SET {} = {}", self.text(), self.text()),
            "Unset" => format!("UNSET {}", self.text()),
            "Define" => format!("DEFINE {name} = {}", self.text()),
            "Undefine" => format!("UNDEFINE {name}"),
            "Print" => format!(
                "PRINT {}{}{}",
                self.pick(&["a-b.c", "'x y'"]),
                self.pick(&["", " FROM BEGINNING"]),
                self.pick(&["", " INTERVAL 2", " SAMPLE 3 LIMIT 4"])
            ),
            other => panic!("no statement of kind {other}"),
        }
    }
}

/// The kind's name, as the enum has it.
fn kind_of(statement: &Statement) -> String {
    let text = format!("{statement:?}");
    text.split(['(', ' ', '{']).next().unwrap().to_owned()
}

#[test]
fn every_kind_of_statement_reads_back_as_it_prints() {
    let mut seen = BTreeSet::new();
    for (i, kind) in KINDS.iter().enumerate() {
        for seed in 0..EACH {
            let mut dice = Dice(seed * 100 + i as u64);
            let text = Author(&mut dice).statement(kind);
            let parsed = parse(&text).unwrap_or_else(|e| panic!("seed {seed}: {text}\n{e:?}"));
            assert_eq!(parsed.len(), 1, "{text}");
            let statement = &parsed[0].statement;
            seen.insert(kind_of(statement));
            let printed = statement.to_string();
            let again = parse(&printed).unwrap_or_else(|e| panic!("seed {seed}: {text}\nprinted as {printed}\n{e:?}"));
            assert_eq!(again[0].statement, *statement, "seed {seed}: {text}\nprinted as {printed}");
            assert_eq!(again[0].statement.to_string(), printed, "seed {seed}: printed twice");
        }
    }
    let missing: Vec<_> = KINDS.iter().filter(|k| **k != "Join" && !seen.contains(**k)).collect();
    assert!(missing.is_empty(), "{missing:?} of {seen:?}");
}

#[test]
fn quotes_in_a_text_print_as_they_were_read() {
    for text in ["'", "''", "'''", "a''b", "\\'", "\\''", "it's"] {
        let written = format!("SELECT K FROM S WHERE (K = '{}') EMIT CHANGES", text.replace('\'', "''"));
        let first = parse(&written).unwrap().remove(0).statement;
        let printed = first.to_string();
        let again = parse(&printed).unwrap_or_else(|e| panic!("{text}: printed as {printed}: {e:?}"));
        assert_eq!(again[0].statement.to_string(), printed, "{text}");
        assert_eq!(printed, written, "{text}");
    }
}

#[test]
fn a_name_that_begins_with_a_digit_is_one_name_in_capitals_too() {
    for name in ["1lace", "1L", "1l", "1L2", "1l2b", "12LL_3@x"] {
        let first = parse(&format!("SELECT {name} FROM S EMIT CHANGES")).unwrap().remove(0).statement;
        let printed = first.to_string();
        assert_eq!(printed, format!("SELECT {} FROM S EMIT CHANGES", name.to_uppercase()));
        assert_eq!(parse(&printed).unwrap()[0].statement.to_string(), printed);
    }
}
