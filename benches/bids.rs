//! Bids as Nexmark makes them, about 245 bytes each: bid `n` is a pure function of the seed and `n`, so that every run and
//! every engine sees the same bytes.

use std::io::Write;

/// Time of the first event.
const BASE_MS: u64 = 1_700_000_000_000;
/// First id of auctions and persons.
const FIRST_ID: u64 = 1000;
/// Events per millisecond of event time.
const EVENTS_PER_MS: u64 = 10;
const SEED: u64 = 42;
const CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn draw(event: u64, field: u64) -> u64 {
    mix(mix(SEED ^ event.wrapping_mul(0x2545_F491_4F6C_DD1D)) ^ field)
}

/// The source of bids.
#[derive(Debug)]
pub(crate) struct Bids {
    letters: Vec<u8>,
}

impl Bids {
    /// Prepares the letters that texts are cut from.
    pub(crate) fn new() -> Bids {
        let letters = (0..(1u64 << 20) + 1024).map(|i| b'a' + (mix(SEED ^ i.wrapping_mul(31)) % 26) as u8).collect();
        Bids { letters }
    }

    fn word(&self, at: usize, len: usize) -> &str {
        std::str::from_utf8(&self.letters[at..at + len]).expect("letters are ASCII")
    }

    /// Replaces `out` by bid number `n` as JSON and answers its time.
    pub(crate) fn write(&self, n: u64, out: &mut Vec<u8>) -> i64 {
        // Of each 50 events the first is a person, three are auctions, the others bids.
        let event = n / 46 * 50 + 4 + n % 46;
        let last_auction = event / 50 * 3 + 2;
        let r = draw(event, 1);
        let auction = FIRST_ID
            + if r & 1 == 0 { last_auction / 100 * 100 } else { last_auction.saturating_sub(100) + 1 + (r >> 1) % 110 };
        let (person, r) = (event / 50, draw(event, 2));
        let bidder =
            FIRST_ID + if r & 3 != 0 { person / 100 * 100 + 1 } else { person.saturating_sub(999) + (r >> 2) % 1010 };
        let price = (100.0 * 10f64.powf(6.0 * (draw(event, 3) >> 11) as f64 / (1u64 << 53) as f64)).round() as u64;
        let time = BASE_MS + event / EVENTS_PER_MS;
        out.clear();
        self.write_fields(event, [auction, bidder, price, time], out).expect("a vector takes every byte");
        time as i64
    }

    fn write_fields(&self, event: u64, numbers: [u64; 4], out: &mut Vec<u8>) -> std::io::Result<()> {
        let [auction, bidder, price, time] = numbers;
        let r = draw(event, 4);
        let hot = r & 1 == 0;
        let channel = if hot { (r >> 1) % 4 } else { (r >> 1) % 10_000 };
        write!(out, "{{\"auction\":{auction},\"bidder\":{bidder},\"price\":{price},\"channel\":\"")?;
        match hot {
            true => write!(out, "{}", CHANNELS[channel as usize])?,
            false => write!(out, "channel-{channel}")?,
        }
        let at = channel as usize * 16;
        let (a, b, c) = (self.word(at, 5), self.word(at + 5, 5), self.word(at + 10, 5));
        write!(out, "\",\"url\":\"https://www.nexmark.com/{a}/{b}/{c}/item.htm?query=1")?;
        if !hot && !(r >> 40).is_multiple_of(10) {
            write!(out, "&channel_id={channel}")?;
        }
        let r = draw(event, 5);
        let extra = self.word((r & 0xF_FFFF) as usize, (54 + (r >> 32) % 27) as usize);
        write!(out, "\",\"dateTime\":{time},\"extra\":\"{extra}\"}}")
    }
}
