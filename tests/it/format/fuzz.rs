//! Damaged payloads: no panic, and good, bad and every value as the second implementation has them.

use super::bids::Bids;
use super::oracle::decode;
use super::{Dice, all, bid_columns, rows};
use tidegate::catalog::Format;
use tidegate::types::{Column, SqlType};

const ROUNDS: usize = 40_000;
/// Rows between two `finish`es.
const BATCH: usize = 64;

/// Where the two parsers differ on purpose: serde_json refuses half surrogate pairs and looks at what follows a `null`,
/// and we refuse numbers whose exponent no Java `int` holds.
fn differs_on_purpose(payload: &[u8]) -> bool {
    let text = String::from_utf8_lossy(payload).to_lowercase();
    let long_exponent = text
        .match_indices('e')
        .any(|(i, _)| text[i + 1..].trim_start_matches(['+', '-']).bytes().take_while(u8::is_ascii_digit).count() > 8);
    let null_and_more = text.trim_ascii().strip_prefix("null").is_some_and(|rest| !rest.is_empty());
    text.contains("\\ud") || long_exponent || null_and_more
}

fn damage(dice: &mut Dice, payload: &mut Vec<u8>) {
    let tokens: [&[u8]; 22] = [
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
        b"\"a\":1,",
        b"\"price\":\"7\",",
    ];
    for _ in 0..1 + dice.roll(3) {
        let at = dice.roll(payload.len() + 1);
        let until = (at + dice.roll(3)).min(payload.len());
        match dice.roll(5) {
            0 => payload.truncate(at),
            1 => drop(payload.drain(at..until)),
            2 => drop(payload.splice(at..at, dice.pick(&tokens).iter().copied())),
            3 => drop(payload.splice(at..until, dice.pick(&tokens).iter().copied())),
            _ if at < payload.len() => payload[at] = dice.roll(256) as u8,
            _ => {}
        }
    }
}

fn agree(columns: &[Column], mut next: impl FnMut(&mut Dice) -> Vec<u8>, seed: u64) {
    let dice = &mut Dice(seed);
    let mut decoder = all(Format::Json, columns, false);
    let (mut expected, mut sent, mut good) = (vec![], vec![], 0);
    for _ in 0..ROUNDS {
        let mut payload = next(dice);
        if dice.roll(4) > 0 {
            damage(dice, &mut payload);
        }
        if differs_on_purpose(&payload) {
            let _ = decoder.push(Some(&payload)).map(|()| decoder.pop());
            continue;
        }
        let (meant, got) = (decode(&payload, columns), decoder.push(Some(&payload)));
        assert_eq!(got.is_ok(), meant.is_ok(), "{got:?}: {}", String::from_utf8_lossy(&payload));
        if let Ok(row) = meant {
            expected.push(row);
            sent.push(payload);
            good += 1;
        }
        if decoder.len() >= BATCH {
            let n = decoder.len();
            for (row, image) in rows(columns, decoder.finish(), n).into_iter().enumerate() {
                assert_eq!(image, expected[row], "{}", String::from_utf8_lossy(&sent[row]));
            }
            expected.clear();
            sent.clear();
        }
    }
    assert!((ROUNDS / 10..ROUNDS * 9 / 10).contains(&good), "the damage is too mild or too strong: {good} are good");
}

#[test]
fn damaged_bids_are_judged_as_by_the_second_implementation() {
    let source = Bids::new();
    let bid = |dice: &mut Dice| {
        let mut bid = vec![];
        source.write(dice.roll(100_000) as u64, &mut bid);
        bid
    };
    agree(&bid_columns(), bid, 1);
}

#[test]
fn damaged_nested_rows_are_judged_as_by_the_second_implementation() {
    let boxed = |ty: &SqlType| Box::new(ty.clone());
    let inner = SqlType::Struct(vec![("A".into(), SqlType::Integer), ("T".into(), SqlType::String)]);
    let columns = [
        Column::value("S", inner.clone()),
        Column::value("L", SqlType::Array(boxed(&SqlType::Decimal(6, 2)))),
        Column::value("M", SqlType::Map(boxed(&SqlType::String), boxed(&inner))),
        Column::value("D", SqlType::Double),
        Column::value("PRICE", SqlType::Bigint),
        Column::value("B", SqlType::Boolean),
        Column::value("ANY", SqlType::String),
    ];
    let samples = [
        r#"{"s":{"a":1,"t":"x"},"l":[1.5,"2.25",null],"m":{"k":{"a":2},"j":null},"d":1.5e3,"price":12,"b":true,"any":[1,{"z":2}]}"#,
        r#"{ "price" : 1234567890123456, "s" : { "t" : "é\n", "A" : null }, "l" : [ ], "m" : { }, "any" : 1.50 }"#,
        r#"{"any":{"a":[1,2.0],"b":"x"},"d":0.001,"B":false,"S":null,"M":{"a":{"T":1},"b":{"t":true}}}"#,
    ];
    agree(&columns, |dice| dice.pick(&samples).as_bytes().to_vec(), 2);
}
