//! Random expressions of a wanted type: columns, literals, calls of the whole registry, operators, CASE, casts, access to
//! parts, lambdas. What it writes is meant to be typed, not to succeed: NULLs, bad texts and overflows are the point.

use crate::batches::Dice;
use tidegate::functions::{Entry, Overload, Param, Registry, Returns, UNITS, Volatility};
use tidegate::types::SqlType::{self, *};

/// Texts that functions understand: patterns, dates, zones, JSON, URLs, numbers, encodings.
pub(crate) const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "abc",
    "Ab cD",
    "ÄÖ ß",
    "x😀y",
    "%a_",
    "12",
    " -7 ",
    "1.5",
    "1e3",
    "true",
    "yes",
    "a,b,,c",
    ",",
    "k=v;l=w",
    ";",
    "=",
    "[a-c]+",
    "(a)(b)?",
    "(?<=a)b",
    "(",
    ".*",
    "yyyy-MM-dd",
    "HH:mm:ss",
    "yyyy-MM-dd'T'HH:mm:ss",
    "2020-02-30",
    "2021-03-04",
    "10:11:12",
    "2021-03-04T05:06:07",
    "UTC",
    "Europe/Berlin",
    "+01:00",
    "Nowhere/City",
    "{\"a\": {\"b\": [1, null, \"x\"]}}",
    "[1, 2, 3]",
    "[",
    "$.a.b[0]",
    "$",
    "hex",
    "utf8",
    "ascii",
    "base64",
    "cafe",
    "0xcafe",
    "aGk=",
    "ASC",
    "desc",
    "BIG_ENDIAN",
    "LITTLE_ENDIAN",
    "KM",
    "MILES",
    "http://u@h.org:80/p/q?x=1&y=%20#f",
    "a+b%zz",
    "x",
];

/// Types that a parameter of any type is tried with.
pub(crate) fn types() -> Vec<SqlType> {
    vec![
        Boolean,
        Integer,
        Bigint,
        Double,
        Decimal(9, 2),
        Decimal(40, 10),
        String,
        Bytes,
        Date,
        Time,
        Timestamp,
        Array(Box::new(Integer)),
        Array(Box::new(String)),
        Array(Box::new(Double)),
        Map(Box::new(String), Box::new(Integer)),
        Map(Box::new(String), Box::new(String)),
        structure(),
    ]
}

/// The one STRUCT type.
pub(crate) fn structure() -> SqlType {
    Struct(vec![
        ("F".into(), Integer),
        ("G".into(), String),
        ("H".into(), Array(Box::new(Integer))),
        ("B".into(), Boolean),
    ])
}

/// A type as a declaration and a CAST have it.
pub(crate) fn written(ty: &SqlType) -> std::string::String {
    ty.to_string()
}

/// Every overload whose result depends on nothing but its arguments.
pub(crate) fn overloads() -> Vec<(&'static Entry, &'static Overload)> {
    let all = Registry::all().flat_map(|e| e.overloads.iter().map(move |o| (e, o)));
    all.filter(|(_, o)| o.volatility == Volatility::Immutable).collect()
}

/// Writes expressions.
pub(crate) struct Writer<'a> {
    pub(crate) dice: &'a mut Dice,
    /// Names that can be read here.
    pub(crate) scope: Vec<(std::string::String, SqlType)>,
    overloads: &'a [(&'static Entry, &'static Overload)],
    types: Vec<SqlType>,
    lambdas: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(
        dice: &'a mut Dice,
        scope: Vec<(std::string::String, SqlType)>,
        overloads: &'a [(&'static Entry, &'static Overload)],
    ) -> Writer<'a> {
        Writer { dice, scope, overloads, types: types(), lambdas: 0 }
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.dice.below(from.len() as i64) as usize].clone()
    }

    fn any_type(&mut self) -> SqlType {
        let types = std::mem::take(&mut self.types);
        let ty = self.pick(&types);
        self.types = types;
        ty
    }

    /// An expression that should have this type.
    pub(crate) fn expr(&mut self, ty: &SqlType, depth: u32) -> std::string::String {
        if depth == 0 || self.dice.one_in(6) {
            return self.leaf(ty);
        }
        match self.dice.below(10) {
            0..=3 => self.call_of(ty, depth),
            4 => self.case(ty, depth),
            5 => self.cast(ty, depth),
            6 => self.part(ty, depth),
            7 => self.lambda(ty, depth),
            _ => self.operation(ty, depth),
        }
    }

    fn leaf(&mut self, ty: &SqlType) -> std::string::String {
        let columns: Vec<std::string::String> =
            self.scope.iter().filter(|(_, t)| t == ty).map(|(n, _)| n.clone()).collect();
        if columns.is_empty() || self.dice.one_in(4) { self.literal(ty) } else { self.pick(&columns) }
    }

    fn text(&mut self) -> std::string::String {
        self.pick(TEXTS).replace('\'', "''")
    }

    fn literal(&mut self, ty: &SqlType) -> std::string::String {
        if self.dice.one_in(8) {
            return if self.dice.one_in(3) { "NULL".into() } else { format!("CAST(NULL AS {})", written(ty)) };
        }
        match ty {
            Boolean => self.pick(&["true", "false"]).into(),
            Integer => self.pick(&["0", "1", "2", "-1", "3", "7", "-20", "100", "2147483647", "-2147483648"]).into(),
            Bigint => self.pick(&["3000000000", "9223372036854775807", "-9223372036854775808", "-4000000000"]).into(),
            Double => self.pick(&["1.5E0", "0E0", "-0E0", "2.5E-3", "1E300", "-7.25E1", "1E10"]).into(),
            Decimal(p, s) if *p > 20 => {
                self.pick(&["123456789012345678901.25", "-0.0000000001", "7.0"]).to_owned()
                    + &"0".repeat(*s as usize - 10)
            }
            Decimal(..) => self.pick(&["1.25", "-3.50", "0.00", "99.99", "7.005"]).into(),
            String => format!("'{}'", self.text()),
            Bytes => format!("TO_BYTES('{}', 'utf8')", self.text()),
            Date => self.pick(&["DATE '2021-03-04'", "DATE '1969-12-31'", "FROM_DAYS(18000)"]).into(),
            Time => self.pick(&["TIME '10:11:12'", "TIME '23:59:59'", "TIME '00:00:00'"]).into(),
            Timestamp => {
                self.pick(&["TIMESTAMP '2021-03-04T05:06:07'", "FROM_UNIXTIME(-1)", "FROM_UNIXTIME(0)"]).into()
            }
            Array(item) => {
                let items: Vec<_> = (0..1 + self.dice.below(3)).map(|_| self.leaf(item)).collect();
                format!("ARRAY[{}]", items.join(", "))
            }
            Map(_, value) => {
                let entries: Vec<_> =
                    (0..1 + self.dice.below(2)).map(|i| format!("'k{i}' := {}", self.leaf(value))).collect();
                format!("MAP({})", entries.join(", "))
            }
            Struct(fields) => {
                let fields: Vec<_> = fields.iter().map(|(n, t)| format!("{n} := {}", self.leaf(t))).collect();
                format!("STRUCT({})", fields.join(", "))
            }
        }
    }

    fn call_of(&mut self, ty: &SqlType, depth: u32) -> std::string::String {
        let fitting: Vec<_> = self.overloads.iter().filter(|(_, o)| may_return(o, ty)).copied().collect();
        if fitting.is_empty() {
            return self.leaf(ty);
        }
        let (entry, overload) = self.pick(&fitting);
        let shared = match &overload.returns {
            Returns::Same(i) if overload.params[*i] == Param::ArrayOfAny => match ty {
                Array(item) => Some((**item).clone()),
                _ => None,
            },
            Returns::Same(_) => Some(ty.clone()),
            _ => None,
        };
        self.call(entry, overload, shared, depth)
    }

    /// A call of this overload; parameters that share a type get `shared`, or one by chance.
    pub(crate) fn call(
        &mut self,
        entry: &Entry,
        overload: &Overload,
        shared: Option<SqlType>,
        depth: u32,
    ) -> std::string::String {
        let shared = shared.unwrap_or_else(|| self.any_type());
        let mut params: Vec<&Param> = overload.params.iter().collect();
        if overload.variadic {
            let last = params[params.len() - 1];
            params.extend((0..self.dice.below(3)).map(|_| last));
        }
        let args: Vec<_> = params.into_iter().map(|p| self.argument(p, &shared, depth)).collect();
        format!("{}({})", entry.name, args.join(", "))
    }

    fn argument(&mut self, param: &Param, shared: &SqlType, depth: u32) -> std::string::String {
        let ty = match param {
            Param::Is(ty) => ty.clone(),
            Param::Decimal => match shared {
                Decimal(..) => shared.clone(),
                _ => Decimal(9, 2),
            },
            Param::Any => shared.clone(),
            Param::ArrayOfAny => Array(Box::new(shared.clone())),
            Param::Map => match shared {
                Map(..) => shared.clone(),
                _ => Map(Box::new(String), Box::new(Integer)),
            },
            Param::Strings => Array(Box::new(String)),
            Param::Anything => self.any_type(),
            Param::Unit => {
                let (unit, _) = self.pick(&UNITS);
                return unit.into();
            }
        };
        self.expr(&ty, depth.saturating_sub(1))
    }

    fn case(&mut self, ty: &SqlType, depth: u32) -> std::string::String {
        let (then, otherwise) = (self.expr(ty, depth - 1), self.expr(ty, depth - 1));
        if self.dice.one_in(3) {
            let of = self.any_type();
            let (value, when) = (self.expr(&of, depth - 1), self.expr(&of, depth - 1));
            return format!("(CASE {value} WHEN {when} THEN {then} ELSE {otherwise} END)");
        }
        let condition = self.expr(&Boolean, depth - 1);
        let otherwise = if self.dice.one_in(3) { std::string::String::new() } else { format!("ELSE {otherwise} ") };
        format!("(CASE WHEN {condition} THEN {then} {otherwise}END)")
    }

    fn cast(&mut self, ty: &SqlType, depth: u32) -> std::string::String {
        let from = match ty {
            Integer | Bigint | Double | Decimal(..) => {
                self.pick(&[Integer, Bigint, Double, Decimal(9, 2), Decimal(40, 10), String])
            }
            String => self.any_type(),
            Date | Time => self.pick(&[Timestamp, String]),
            Timestamp => self.pick(&[Date, String]),
            Array(_) => self.pick(&[Array(Box::new(Integer)), Array(Box::new(Double)), Array(Box::new(String))]),
            Map(..) => Map(Box::new(String), Box::new(Integer)),
            Struct(_) => structure(),
            Boolean | Bytes => String,
        };
        format!("CAST({} AS {})", self.expr(&from, depth - 1), written(ty))
    }

    /// An element, an entry or a field.
    fn part(&mut self, ty: &SqlType, depth: u32) -> std::string::String {
        let of_struct = match structure() {
            Struct(fields) => fields.into_iter().find(|(_, t)| t == ty).map(|(n, _)| n),
            _ => None,
        };
        if let Some(field) = of_struct
            && self.dice.one_in(2)
        {
            return format!("{}->{field}", self.expr(&structure(), depth - 1));
        }
        if self.dice.one_in(2) {
            let map = Map(Box::new(String), Box::new(ty.clone()));
            return format!("{}['{}']", self.expr(&map, depth - 1), self.text());
        }
        let array = self.expr(&Array(Box::new(ty.clone())), depth - 1);
        format!("{array}[{}]", self.expr(&Integer, depth - 1))
    }

    fn lambda(&mut self, ty: &SqlType, depth: u32) -> std::string::String {
        let item = self.pick(&[Integer, String, Double]);
        let over = Array(Box::new(item.clone()));
        match ty {
            Array(to) if self.dice.one_in(2) => {
                let list = self.expr(&over, depth - 1);
                let (names, body) = self.body(&[item], to, depth);
                format!("TRANSFORM({list}, {} => {body})", names[0])
            }
            Array(item) => {
                let list = self.expr(ty, depth - 1);
                let (names, body) = self.body(&[(**item).clone()], &Boolean, depth);
                format!("FILTER({list}, {} => {body})", names[0])
            }
            Map(key, value) if self.dice.one_in(2) => {
                let map = self.expr(&Map(Box::new(String), Box::new(Integer)), depth - 1);
                let (names, of_key) = self.body(&[String, Integer], key, depth);
                let (others, of_value) = self.body(&[String, Integer], value, depth);
                format!("TRANSFORM({map}, ({}) => {of_key}, ({}) => {of_value})", names.join(", "), others.join(", "))
            }
            Map(key, value) => {
                let map = self.expr(ty, depth - 1);
                let (names, body) = self.body(&[(**key).clone(), (**value).clone()], &Boolean, depth);
                format!("FILTER({map}, ({}) => {body})", names.join(", "))
            }
            _ if self.dice.one_in(2) => {
                let (list, state) = (self.expr(&over, depth - 1), self.expr(ty, depth - 1));
                let (names, body) = self.body(&[ty.clone(), item], ty, depth);
                format!("REDUCE({list}, {state}, ({}) => {body})", names.join(", "))
            }
            _ => {
                let (map, state) =
                    (self.expr(&Map(Box::new(String), Box::new(item.clone())), depth - 1), self.expr(ty, depth - 1));
                let (names, body) = self.body(&[ty.clone(), String, item], ty, depth);
                format!("REDUCE({map}, {state}, ({}) => {body})", names.join(", "))
            }
        }
    }

    /// Names for parameters of these types, and a body over them.
    fn body(
        &mut self,
        params: &[SqlType],
        ty: &SqlType,
        depth: u32,
    ) -> (Vec<std::string::String>, std::string::String) {
        let names: Vec<_> = params.iter().enumerate().map(|(i, _)| format!("P{}", self.lambdas + i)).collect();
        self.lambdas += params.len();
        let outer = self.scope.len();
        self.scope.extend(names.iter().cloned().zip(params.iter().cloned()));
        let body = self.expr(ty, depth - 1);
        self.scope.truncate(outer);
        (names, body)
    }

    fn operation(&mut self, ty: &SqlType, depth: u32) -> std::string::String {
        match ty {
            Boolean => self.condition(depth),
            Integer | Bigint | Double | Decimal(..) => {
                let (left, right) = (self.expr(ty, depth - 1), self.expr(ty, depth - 1));
                match self.pick(&["+", "-", "*", "/", "%", "minus"]) {
                    "minus" => format!("(-({left}))"),
                    op => format!("({left} {op} {right})"),
                }
            }
            String => {
                let op = self.pick(&["||", "+"]);
                format!("({} {op} {})", self.expr(ty, depth - 1), self.expr(ty, depth - 1))
            }
            _ => self.call_of(ty, depth),
        }
    }

    /// An expression that is true or false, mostly.
    pub(crate) fn condition(&mut self, depth: u32) -> std::string::String {
        let d = depth.saturating_sub(1);
        let ty = self.any_type();
        match self.dice.below(9) {
            0 => format!("({} AND {})", self.expr(&Boolean, d), self.expr(&Boolean, d)),
            1 => format!("({} OR {})", self.expr(&Boolean, d), self.expr(&Boolean, d)),
            2 => format!("(NOT {})", self.expr(&Boolean, d)),
            3 => format!("({} IS {}NULL)", self.expr(&ty, d), self.pick(&["", "NOT "])),
            4 => format!("({} IS {}DISTINCT FROM {})", self.expr(&ty, d), self.pick(&["", "NOT "]), self.expr(&ty, d)),
            5 => {
                let (low, high) = (self.expr(&ty, d), self.expr(&ty, d));
                format!("({} {}BETWEEN {low} AND {high})", self.expr(&ty, d), self.pick(&["", "NOT "]))
            }
            6 => {
                let list: Vec<_> = (0..1 + self.dice.below(3)).map(|_| self.expr(&ty, d)).collect();
                format!("({} {}IN ({}))", self.expr(&ty, d), self.pick(&["", "NOT "]), list.join(", "))
            }
            7 => {
                let escape = self.pick(&["", " ESCAPE 'a'"]);
                format!(
                    "({} {}LIKE {}{escape})",
                    self.expr(&String, d),
                    self.pick(&["", "NOT "]),
                    self.expr(&String, d)
                )
            }
            _ => {
                let op = self.pick(&["=", "<>", "<", "<=", ">", ">="]);
                format!("({} {op} {})", self.expr(&ty, d), self.expr(&ty, d))
            }
        }
    }
}

fn may_return(overload: &Overload, ty: &SqlType) -> bool {
    match &overload.returns {
        Returns::Type(of) => of == ty,
        Returns::Strings => matches!(ty, Array(item) if **item == String),
        Returns::Same(i) => match &overload.params[*i] {
            Param::Is(of) => of == ty,
            Param::Decimal => matches!(ty, Decimal(..)),
            Param::Map => matches!(ty, Map(..)),
            Param::ArrayOfAny => matches!(ty, Array(_)),
            Param::Strings => matches!(ty, Array(item) if **item == String),
            Param::Any | Param::Anything => true,
            Param::Unit => false,
        },
        Returns::Of(_) => false,
    }
}
