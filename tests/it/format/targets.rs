//! What any payload must stand in each decoder: the checks alone, with payloads to begin with, which `fuzz` runs on damaged
//! ones in every test run, and libFuzzer on what it finds (`tests/fuzz`).
//!
//! The second opinions: for JSON a tree of `serde_json`, for DELIMITED the `csv` crate, for KAFKA the rule in a line, for
//! PROTOBUF a reader of its own (`protobuf_oracle`). Where they differ from us on purpose is listed in `JSON_DIFFERS` and
//! `delimited_differs`, with what we are to answer there.

use super::bids::Bids;
use super::oracle::{V, convert, decode};
use super::{all, bid_columns, protobuf_oracle, rows};
use serde_json::Value;
use tidegate::catalog::Format;
use tidegate::format::{Decoder, Encoder};
use tidegate::types::{Column, SqlType};

/// What a payload means; `Err` = bad, `None` = no image.
pub(super) type Meaning = Result<Option<Vec<V>>, ()>;

/// The other reader.
type Reader = dyn Fn(&[u8], &[Column]) -> Meaning;

/// What we are to answer where the other reader is known to be of another mind.
pub(super) enum Ours {
    /// Good or bad as the other reader finds this payload.
    As(Vec<u8>),
    /// Bad.
    Refuses,
    /// Too hard to tell from outside; it may only not panic.
    Either,
}

/// A row in a decoder: payload, seed, image.
type Waiting = (Vec<u8>, u64, Option<Vec<V>>);

/// A reason, and where it applies.
pub(super) type Difference = (&'static str, fn(&[u8]) -> Option<Ours>);

const JSON_DIFFERS: &[Difference] = &[
    ("serde_json looks at what follows a null; to us it is nobody's, unless it makes it another word", |payload| {
        let start = payload.iter().position(|c| !b" \t\r\n".contains(c))?;
        match payload[start..].strip_prefix(b"null")?.first()? {
            c if c.is_ascii_alphanumeric() || b"_$".contains(c) || *c >= 0x80 => Some(Ours::Refuses),
            _ => Some(Ours::As(b"null".to_vec())),
        }
    }),
    ("serde_json refuses halves of surrogate pairs; we take them, as Jackson does", |payload| {
        let mut same = payload.to_vec();
        let half = |w: &[u8]| {
            let high = matches!(w[3], b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F');
            w[..2] == *b"\\u" && matches!(w[2], b'd' | b'D') && high && w[4..].iter().all(u8::is_ascii_hexdigit)
        };
        let places: Vec<usize> = payload.windows(6).enumerate().filter(|(_, w)| half(w)).map(|(i, _)| i).collect();
        places.iter().for_each(|i| same[i + 2..i + 6].copy_from_slice(b"003f"));
        (!places.is_empty()).then_some(Ours::As(same))
    }),
    ("we refuse numbers whose exponent no Java int holds, where they are read", |payload| {
        let text = String::from_utf8_lossy(payload).to_lowercase();
        let digits = |i| text[i + 1..].trim_start_matches(['+', '-']).bytes().take_while(u8::is_ascii_digit).count();
        text.match_indices('e').any(|(i, _)| digits(i) > 8).then_some(Ours::Either)
    }),
    ("serde_json follows 127 levels, we 1000, as Jackson does", |payload| {
        (payload.iter().filter(|c| b"[{".contains(c)).count() > 120).then_some(Ours::Either)
    }),
];

const fn delimited_differs(quotes: fn(&[u8]) -> Option<Ours>) -> [Difference; 2] {
    [
        ("the csv crate leaves out a byte order mark; Commons CSV does not", |payload| {
            payload.starts_with(b"\xef\xbb\xbf").then(|| Ours::As([b"\xef\xbb\xbf", payload].concat()))
        }),
        (
            "the csv crate takes quotes that stay open or end within a field; Commons CSV only blanks behind them",
            quotes,
        ),
    ]
}

const COMMA_DIFFERS: &[Difference] = &delimited_differs(quotes::<b','>);
const SEMICOLON_DIFFERS: &[Difference] = &delimited_differs(quotes::<b';'>);

/// The fields that begin with a quote, of all lines.
fn quotes<const DELIMITER: u8>(payload: &[u8]) -> Option<Ours> {
    let delimiter = DELIMITER;
    let mut same = payload.to_vec();
    let mut i = payload.iter().position(|c| !b"\r\n".contains(c))?;
    loop {
        if same.get(i) == Some(&b'"') {
            i += 1;
            loop {
                let Some(n) = same[i..].iter().position(|c| *c == b'"') else { return Some(Ours::Refuses) };
                i += n + 1;
                if same.get(i) != Some(&b'"') {
                    break;
                }
                i += 1;
            }
            while same.get(i) == Some(&b' ') {
                same.remove(i);
            }
            match same.get(i) {
                Some(c) if *c != delimiter && !b"\r\n".contains(c) => return Some(Ours::Refuses),
                _ => {}
            }
        }
        while same.get(i).is_some_and(|c| *c != delimiter && !b"\r\n".contains(c)) {
            i += 1;
        }
        match same.get(i) {
            Some(c) if *c == delimiter => i += 1,
            Some(_) => i += same[i..].iter().take_while(|c| b"\r\n".contains(c)).count(),
            None => return (same != payload).then_some(Ours::As(same)),
        }
    }
}

/// A decoder with payloads to begin with.
pub(crate) struct Target {
    columns: Vec<Column>,
    decoder: Decoder,
    corpus: Vec<Vec<u8>>,
    pub(super) tokens: &'static [&'static [u8]],
    meaning: Box<Reader>,
    differs: &'static [Difference],
    /// Rows in the decoder.
    waiting: Vec<Waiting>,
    pub(super) tried: usize,
    pub(super) good: usize,
    pub(super) apart: usize,
}

impl Target {
    fn new(
        format: Format,
        columns: Vec<Column>,
        corpus: Vec<Vec<u8>>,
        tokens: &'static [&'static [u8]],
        meaning: impl Fn(&[u8], &[Column]) -> Meaning + 'static,
        differs: &'static [Difference],
    ) -> Target {
        let decoder = all(format, &columns, false);
        Target::with(decoder, columns, corpus, tokens, meaning, differs)
    }

    /// The same with a decoder that is made already.
    pub(super) fn with(
        decoder: Decoder,
        columns: Vec<Column>,
        corpus: Vec<Vec<u8>>,
        tokens: &'static [&'static [u8]],
        meaning: impl Fn(&[u8], &[Column]) -> Meaning + 'static,
        differs: &'static [Difference],
    ) -> Target {
        let meaning = Box::new(meaning);
        Target { columns, decoder, corpus, tokens, meaning, differs, waiting: vec![], tried: 0, good: 0, apart: 0 }
    }

    /// The known differences that apply, one behind the other, and what we are to answer; `None` = either.
    fn judged_apart(&self, payload: &[u8]) -> (Vec<&'static str>, Option<bool>) {
        let (mut same, mut reasons) = (payload.to_vec(), vec![]);
        for (reason, applies) in self.differs {
            let Some(ours) = applies(&same) else { continue };
            reasons.push(*reason);
            match ours {
                Ours::As(other) => same = other,
                Ours::Refuses => return (reasons, Some(false)),
                Ours::Either => return (reasons, None),
            }
        }
        let good = !reasons.is_empty() && (self.meaning)(&same, &self.columns).is_ok();
        (reasons, Some(good))
    }

    /// Good or bad as the other reader finds this payload, which is kept until its value is compared.
    pub(crate) fn look(&mut self, payload: Vec<u8>, seed: u64) {
        self.tried += 1;
        let shown = || String::from_utf8_lossy(&payload[..payload.len().min(2000)]).into_owned();
        let got = self.decoder.push(Some(&payload));
        let (reasons, expected) = self.judged_apart(&payload);
        if !reasons.is_empty() {
            assert_eq!(got.is_ok(), expected.unwrap_or(got.is_ok()), "although {reasons:?}: {got:?}: {}", shown());
            if got.is_ok() {
                self.decoder.pop();
            }
            self.apart += 1;
            return;
        }
        let meant = (self.meaning)(&payload, &self.columns);
        assert_eq!(got.is_ok(), meant.is_ok(), "{got:?}, not {meant:?}: {} = {payload:?}", shown());
        if let Ok(image) = meant {
            self.good += 1;
            self.waiting.push((payload, seed, image));
        }
    }

    /// Payloads to begin with.
    pub(crate) fn corpus(&self) -> &[Vec<u8>] {
        &self.corpus
    }

    /// Rows that wait for [`Target::compare`].
    pub(super) fn len(&self) -> usize {
        self.decoder.len()
    }

    /// The values of the good payloads since the last time, as the other reader has them.
    pub(crate) fn compare(&mut self) {
        let n = self.decoder.len();
        let images = rows(&self.columns, self.decoder.finish(), n);
        for (image, (payload, seed, meant)) in images.into_iter().zip(self.waiting.drain(..)) {
            assert_eq!(image, meant, "of seed {seed}: {} = {payload:?}", String::from_utf8_lossy(&payload));
        }
    }
}

const JSON_TOKENS: &[&[u8]] = &[
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"null",
    b"true",
    b"1",
    b"-",
    b".",
    b"e5",
    b" ",
    b"\n",
    b"\x00",
    b"\xff",
    b"\xc3\xa9",
    b"\\u0041",
    b"\\ud83d",
    b"\"a\":1,",
    b"\"price\":\"7\",",
    b"[[[[[[[[",
    b"1e-400",
    b"\xef\xbb\xbf",
];

pub(super) fn nested_columns() -> Vec<Column> {
    let boxed = |ty: &SqlType| Box::new(ty.clone());
    let inner = SqlType::Struct(vec![("A".into(), SqlType::Integer), ("T".into(), SqlType::String)]);
    vec![
        Column::value("S", inner.clone()),
        Column::value("L", SqlType::Array(boxed(&SqlType::Decimal(6, 2)))),
        Column::value("M", SqlType::Map(boxed(&SqlType::String), boxed(&inner))),
        Column::value("D", SqlType::Double),
        Column::value("PRICE", SqlType::Bigint),
        Column::value("B", SqlType::Boolean),
        Column::value("ANY", SqlType::String),
        Column::value("Y", SqlType::Bytes),
        Column::value("DT", SqlType::Date),
        Column::value("TM", SqlType::Time),
        Column::value("TS", SqlType::Timestamp),
    ]
}

/// Targets of JSON.
pub(crate) fn json() -> Vec<Target> {
    let source = Bids::new();
    let bid = |n: u64| {
        let mut bid = vec![];
        source.write(n * 997, &mut bid);
        bid
    };
    let nested = [
        r#"{"s":{"a":1,"t":"x"},"l":[1.5,"2.25",null],"m":{"k":{"a":2},"j":null},"d":1.5e3,"price":12,"b":true,"any":[1,{"z":2}]}"#,
        r#"{ "price" : 1234567890123456, "s" : { "t" : "é\n", "A" : null }, "l" : [ ], "m" : { }, "any" : 1.50 }"#,
        r#"{"any":{"a":[1,2.0],"b":"x"},"d":0.001,"B":false,"S":null,"M":{"a":{"T":1},"b":{"t":true}}}"#,
        r#"{"y":"dmFyaWF0aW9ucw==","dt":19782,"tm":86399999,"ts":"1700000000000","d":"NaN","any":"\ud83d\ude00"}"#,
        "null",
    ];
    let nested = nested.iter().map(|text| text.as_bytes().to_vec()).collect();
    vec![
        Target::new(Format::Json, bid_columns(), (0..50).map(bid).collect(), JSON_TOKENS, decode, JSON_DIFFERS),
        Target::new(Format::Json, nested_columns(), nested, JSON_TOKENS, decode, JSON_DIFFERS),
    ]
}

const DELIMITED_TOKENS: &[&[u8]] = &[
    b"\"",
    b"\"\"",
    b",",
    b";",
    b"\n",
    b"\r",
    b"\r\n",
    b" ",
    b"\\",
    b"true",
    b"1",
    b"-",
    b".",
    b"e5",
    b"\x00",
    b"\xff",
    b"\xc3\xa9",
    b"AA==",
    b"9223372036854775808",
    b"NaN",
    b"\",\"",
    b"\xef\xbb\xbf",
];

fn delimited_line(payload: &[u8], delimiter: char, columns: &[Column]) -> Meaning {
    let text = String::from_utf8_lossy(payload);
    let mut reader = csv::ReaderBuilder::new();
    let reader = reader.has_headers(false).flexible(true).delimiter(delimiter as u8).buffer_capacity(1024);
    let records: Vec<_> = reader.from_reader(text.as_bytes()).into_records().collect::<Result<_, _>>().map_err(drop)?;
    let record = records.first().ok_or(())?;
    if record.len() != columns.len() {
        return Err(());
    }
    let value = |(field, column): (&str, &Column)| match &column.ty {
        _ if field.is_empty() => Ok(V::Null),
        SqlType::Boolean => Ok(V::Bool(field.eq_ignore_ascii_case("true"))),
        ty => convert(&Value::String(field.to_owned()), ty).ok_or(()),
    };
    record.iter().zip(columns).map(value).collect::<Result<_, _>>().map(Some)
}

/// Targets of DELIMITED.
pub(crate) fn delimited() -> Vec<Target> {
    let types = [
        SqlType::Integer,
        SqlType::Bigint,
        SqlType::Double,
        SqlType::Decimal(6, 2),
        SqlType::String,
        SqlType::Bytes,
        SqlType::Boolean,
        SqlType::Date,
        SqlType::Time,
        SqlType::Timestamp,
    ];
    let columns: Vec<Column> =
        types.iter().enumerate().map(|(i, ty)| Column::value(format!("C{i}"), ty.clone())).collect();
    let lines = [
        "1,-20000000000,1.5e3,12.34,text,AAE=,true,19782,86399999,1700000000000",
        "\"7\",,0x1p3,\"1\",\"a \"\"b\"\"\" ,,FALSE,,0,",
        ",,,,,,,,,",
        "\n2147483647,5,Infinity,-9999.99,é😀,/+8A,x,-1,1,-1\r\nmore,lines",
    ];
    let target = |(delimiter, differs): (char, &'static [Difference])| {
        let text = |line: &&str| line.replace(',', &delimiter.to_string()).into_bytes();
        let meaning = move |payload: &[u8], columns: &[Column]| delimited_line(payload, delimiter, columns);
        let corpus = lines.iter().map(text).collect();
        Target::new(Format::Delimited(delimiter), columns.clone(), corpus, DELIMITED_TOKENS, meaning, differs)
    };
    [(',', COMMA_DIFFERS), (';', SEMICOLON_DIFFERS)].map(target).into()
}

fn plain_value(payload: &[u8], columns: &[Column]) -> Meaning {
    let eight = || payload.try_into().map_err(drop);
    let value = match &columns[0].ty {
        SqlType::Integer => V::Int(i32::from_be_bytes(payload.try_into().map_err(drop)?).into()),
        SqlType::Bigint => V::Int(i64::from_be_bytes(eight()?)),
        SqlType::Double => V::Double(u64::from_be_bytes(eight()?)),
        SqlType::String => V::Text(String::from_utf8_lossy(payload).into_owned()),
        _ => V::Bytes(payload.to_vec()),
    };
    Ok(Some(vec![value]))
}

/// Targets of KAFKA.
pub(crate) fn kafka() -> Vec<Target> {
    let corpus = [&b"\0\0\0\x07"[..], &[0xFF; 8], b"text", "é😀".as_bytes(), &[0x7F, 0xF8, 0, 0, 0, 0, 0, 0], b""];
    let corpus: Vec<Vec<u8>> = corpus.iter().map(|payload| payload.to_vec()).collect();
    let tokens: &[&[u8]] = &[b"\xff", b"\0\0\0\0", b"\xed\xa0\x80", b"\xf0\x9f", b"a"];
    let types = [SqlType::Integer, SqlType::Bigint, SqlType::Double, SqlType::String, SqlType::Bytes];
    let target = |ty: SqlType| {
        let columns = vec![Column::value("V", ty)];
        Target::new(Format::Kafka, columns, corpus.clone(), tokens, plain_value, &[])
    };
    types.map(target).into()
}

const PROTOBUF_TOKENS: &[&[u8]] = &[
    b"\0",
    b"\x08",
    b"\x0a",
    b"\x0a\x02",
    b"\x12\0",
    b"\x1b",
    b"\x1c",
    b"\x1b\x1c",
    b"\x25\0\0\0\0",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\x21\0\0\0\0\0\0\xf0\x3f",
    b"\x08\xe8\x0f\x10\x02\x18\x1d",
    b"\xc3\xa9",
    b"\xff",
    b"\x80",
    b"\x80\x80\x80\x80\x10",
];

/// Targets of PROTOBUF_NOSR.
pub(crate) fn protobuf() -> Vec<Target> {
    let mut columns = nested_columns();
    let numbers = |ty: SqlType| SqlType::Array(Box::new(ty));
    columns.push(Column::value("NS", numbers(SqlType::Integer)));
    columns.push(Column::value("DS", numbers(SqlType::Double)));
    columns.push(Column::value("BS", numbers(SqlType::Boolean)));
    columns.push(Column::value("TS2", numbers(SqlType::String)));
    columns.push(Column::value("I", SqlType::Integer));
    let samples = [
        r#"{"S":{"A":1,"T":"x"},"L":[1.5,2.25],"M":{"k":{"A":2,"T":"é"},"j":{"A":3}},"D":1.5,"PRICE":12,"B":true,"ANY":"z"}"#,
        r#"{"Y":"AAE=","DT":19782,"TM":86399999,"TS":1700000000123,"NS":[1,-2,300],"DS":[0.5,-1],"BS":[true,false]}"#,
        r#"{"TS2":["a","","bc"],"I":-7,"TS":-62135596800000,"DT":-100,"TM":0,"L":[-9999.99,0],"M":{}}"#,
    ];
    let mut json = all(Format::Json, &columns, false);
    samples.iter().for_each(|row| json.push(Some(row.as_bytes())).unwrap());
    let (mut data, mut ranges, (arrays, _)) = (vec![], vec![], json.finish());
    let mut encoder = Encoder::new(Format::ProtobufNosr, &columns, false).unwrap();
    let bad = encoder.encode(&arrays, None, samples.len(), &mut data, &mut ranges).unwrap();
    assert!(bad.is_empty(), "{bad:?}");
    let corpus = ranges.into_iter().map(|range| data[range.unwrap()].to_vec()).collect();
    let meaning = |payload: &[u8], columns: &[Column]| protobuf_oracle::decode(payload, columns);
    vec![Target::new(Format::ProtobufNosr, columns, corpus, PROTOBUF_TOKENS, meaning, &[])]
}
