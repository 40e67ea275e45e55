//! What the generator can write: the rows of ksql-datagen's schemas, and two more.
//!
//! ```text
//! orders, users, pageviews, clickstream      the fields of ksql-datagen's schemas of these names, so that tutorials work
//! cars                                       racing cars: speed, rpm and temperature (`tidegate demo`)
//! bids                                       an auction's bids, in the form of Nexmark
//! ```
//!
//! Row number `i` of a seed is the same everywhere and at any time: it reads no clock. Its record's time is the time at which it is
//! written.

use serde_json::{Map, Value, json};
use std::f64::consts::TAU;

/// A kind of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// Orders of items, with an address.
    Orders,
    /// Registrations of nine users.
    Users,
    /// Pages that they look at.
    Pageviews,
    /// Requests of a web server's log.
    Clickstream,
    /// Sensor readings of six racing cars.
    Cars,
    /// Bids of auctions.
    Bids,
}

/// A column of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateColumn {
    /// Its name as it is written in SQL.
    pub name: &'static str,
    /// Its type in SQL.
    pub ty: &'static str,
    /// The record's key.
    pub is_key: bool,
}

const fn column(name: &'static str, ty: &'static str) -> TemplateColumn {
    TemplateColumn { name, ty, is_key: false }
}

const fn key(name: &'static str, ty: &'static str) -> TemplateColumn {
    TemplateColumn { name, ty, is_key: true }
}

/// The cars on the track, each with its usual speed in km/h.
const CARS: [(&str, f64); 6] = [
    ("alpine-36", 212.0),
    ("bmw-15", 219.0),
    ("cadillac-2", 221.0),
    ("ferrari-51", 226.0),
    ("porsche-6", 224.0),
    ("toyota-8", 223.0),
];

/// 2017-07-14T02:40:00Z, the moment at which the invented times of orders and users begin.
const EPOCH_MS: i64 = 1_500_000_000_000;

impl Template {
    /// All of them.
    pub const ALL: [Template; 6] =
        [Template::Orders, Template::Users, Template::Pageviews, Template::Clickstream, Template::Cars, Template::Bids];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Template::Orders => "orders",
            Template::Users => "users",
            Template::Pageviews => "pageviews",
            Template::Clickstream => "clickstream",
            Template::Cars => "cars",
            Template::Bids => "bids",
        }
    }

    /// The template of this name, in any case.
    pub fn of(name: &str) -> Option<Template> {
        Template::ALL.into_iter().find(|template| template.name().eq_ignore_ascii_case(name))
    }

    /// Its columns, the key among them.
    pub fn columns(self) -> &'static [TemplateColumn] {
        match self {
            Template::Orders => {
                const COLUMNS: &[TemplateColumn] = &[
                    column("ordertime", "BIGINT"),
                    key("orderid", "INT"),
                    column("itemid", "VARCHAR"),
                    column("orderunits", "DOUBLE"),
                    column("address", "STRUCT<city VARCHAR, state VARCHAR, zipcode BIGINT>"),
                ];
                COLUMNS
            }
            Template::Users => {
                const COLUMNS: &[TemplateColumn] = &[
                    column("registertime", "BIGINT"),
                    key("userid", "VARCHAR"),
                    column("regionid", "VARCHAR"),
                    column("gender", "VARCHAR"),
                ];
                COLUMNS
            }
            Template::Pageviews => {
                const COLUMNS: &[TemplateColumn] =
                    &[key("viewtime", "BIGINT"), column("userid", "VARCHAR"), column("pageid", "VARCHAR")];
                COLUMNS
            }
            Template::Clickstream => {
                const COLUMNS: &[TemplateColumn] = &[
                    key("ip", "VARCHAR"),
                    column("userid", "INT"),
                    column("request", "VARCHAR"),
                    column("status", "INT"),
                    column("bytes", "BIGINT"),
                    column("agent", "VARCHAR"),
                ];
                COLUMNS
            }
            Template::Cars => {
                const COLUMNS: &[TemplateColumn] = &[
                    key("car", "VARCHAR"),
                    column("speed", "DOUBLE"),
                    column("rpm", "INT"),
                    column("temperature", "DOUBLE"),
                ];
                COLUMNS
            }
            Template::Bids => {
                const COLUMNS: &[TemplateColumn] = &[
                    key("auction", "BIGINT"),
                    column("bidder", "BIGINT"),
                    column("price", "BIGINT"),
                    column("channel", "VARCHAR"),
                    column("url", "VARCHAR"),
                ];
                COLUMNS
            }
        }
    }

    /// Its columns as CREATE STREAM or CREATE TABLE declares them.
    pub fn declaration(self, key_words: &str) -> String {
        let written = |c: &TemplateColumn| {
            let key = if c.is_key && !key_words.is_empty() { format!(" {key_words}") } else { String::new() };
            format!("{} {}{key}", c.name, c.ty)
        };
        self.columns().iter().map(written).collect::<Vec<_>>().join(", ")
    }

    /// Row number `i`, by the names of the columns.
    pub fn row(self, seed: u64, i: u64) -> Map<String, Value> {
        let mut dice = Dice(mix(seed ^ mix(i)));
        let values = match self {
            Template::Orders => orders(&mut dice, i),
            Template::Users => vec![
                json!(EPOCH_MS + dice.below(31_536_000_000)),
                json!(format!("User_{}", dice.below(9) + 1)),
                json!(format!("Region_{}", dice.below(9) + 1)),
                json!(dice.one(&["MALE", "FEMALE", "OTHER"])),
            ],
            Template::Pageviews => vec![
                json!(EPOCH_MS + 10 * i as i64),
                json!(format!("User_{}", dice.below(9) + 1)),
                json!(format!("Page_{}", dice.below(99) + 1)),
            ],
            Template::Clickstream => clickstream(&mut dice),
            Template::Cars => {
                let car = (i % CARS.len() as u64) as usize;
                let reading = reading((i / CARS.len() as u64) as i64, car, seed);
                vec![json!(reading.car), json!(reading.speed), json!(reading.rpm), json!(reading.temperature)]
            }
            Template::Bids => bids(&mut dice, i),
        };
        self.columns().iter().map(|c| c.name.to_owned()).zip(values).collect()
    }
}

fn orders(dice: &mut Dice, i: u64) -> Vec<Value> {
    let city = dice.below(99) + 1;
    vec![
        json!(EPOCH_MS + dice.below(31_536_000_000)),
        // As ksql-datagen counts: from 0, within an INT.
        json!((i % (1 << 31)) as i64),
        json!(format!("Item_{}", dice.below(1_000))),
        json!((dice.below(100_000) as f64) / 10_000.0),
        json!({
            "city": format!("City_{city}"),
            "state": format!("State_{}", dice.below(99) + 1),
            "zipcode": 10_000 + dice.below(90_000),
        }),
    ]
}

fn clickstream(dice: &mut Dice) -> Vec<Value> {
    let ip = dice.one(&["111.152.45.45", "111.203.236.146", "111.168.57.122", "111.249.79.93", "222.245.174.248"]);
    let pages = [
        "GET /index.html HTTP/1.1",
        "GET /site/user_status.html HTTP/1.1",
        "GET /images/track.png HTTP/1.1",
        "GET /site/login.html HTTP/1.1",
    ];
    vec![
        json!(ip),
        json!(dice.below(39) + 1),
        json!(dice.one(&pages)),
        json!([200, 302, 404, 405, 406, 407][dice.below(6) as usize]),
        json!([278, 1289, 2048, 4006, 4096, 14096][dice.below(6) as usize]),
        json!(dice.one(&[
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64)",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        ])),
    ]
}

fn bids(dice: &mut Dice, i: u64) -> Vec<Value> {
    // Most bids are for the auctions that were opened last.
    let auction = 1_000 + (i / 50) as i64 - dice.below(20).min((i / 50) as i64);
    let channel = dice.one(&["Google", "Facebook", "Baidu", "Apple"]);
    vec![
        json!(auction),
        json!(1_000 + dice.below(500)),
        json!(100 + dice.below(1_000_000)),
        json!(channel),
        json!(format!("https://www.nexmark.com/item.htm?query=1&channel_id={}", dice.below(10_000))),
    ]
}

/// A reading of a car.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Car: the record's key.
    pub car: &'static str,
    /// km/h.
    pub speed: f64,
    /// Turns a minute.
    pub rpm: i64,
    /// Of the brakes, in degrees Celsius.
    pub temperature: f64,
}

/// Number of cars.
pub const CAR_COUNT: usize = CARS.len();

/// Reading number `i` of car number `car`: a lap takes some ten seconds at ten readings a second, and no two cars drive alike.
pub fn reading(i: i64, car: usize, seed: u64) -> Reading {
    let (name, usual) = CARS[car % CARS.len()];
    let lap = (i as f64 / 100.0 + car as f64 / 7.0) * TAU;
    let noise = f64::from((mix(i as u64 ^ (car as u64) << 40 ^ seed.rotate_left(17)) % 1_000) as u32) / 1_000.0;
    let speed = usual + 60.0 * lap.sin() + 8.0 * noise;
    let tenths = |x: f64| (x * 10.0).round() / 10.0;
    Reading {
        car: name,
        speed: tenths(speed),
        rpm: (speed * 34.0 + 400.0 * noise) as i64,
        temperature: tenths(88.0 + speed / 12.0 + 3.0 * noise),
    }
}

/// Numbers that follow from one.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> i64 {
        self.0 = mix(self.0);
        (self.0 % bound) as i64
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}

/// splitmix64: the same numbers everywhere.
fn mix(z: u64) -> u64 {
    let mut z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_same_for_a_seed_and_another_for_another() {
        for template in Template::ALL {
            let rows = |seed| (0..50).map(|i| template.row(seed, i)).collect::<Vec<_>>();
            assert_eq!(rows(1), rows(1), "{template:?}");
            assert_ne!(rows(1), rows(2), "{template:?}");
            for row in rows(7) {
                let names: Vec<&str> = row.keys().map(String::as_str).collect();
                assert_eq!(names, template.columns().iter().map(|c| c.name).collect::<Vec<_>>());
            }
            assert_eq!(Template::of(&template.name().to_uppercase()), Some(template));
        }
        assert_eq!(Template::Orders.row(1, 41)["orderid"], 41);
    }
}
