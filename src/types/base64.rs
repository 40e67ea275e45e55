//! Base64 as Jackson writes and reads it (`Base64Variants.MIME_NO_LINEFEEDS`, RFC 4648 section 4): padded; blanks between groups
//! of four are skipped. Casts and TO_BYTES decode like the JDK ([`decode_basic`]): no blanks, optional padding.
//!
//! The crate `base64` encodes, and decodes the JDK's form. It does not support Jackson's `Base64Variant` (control characters as
//! blanks, unchecked last bits), so [`decode`] is our own.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The entry of `VALUES` for bytes outside the alphabet.
const NOT_A_DIGIT: u8 = 0xFF;

const VALUES: [u8; 256] = {
    let mut values = [NOT_A_DIGIT; 256];
    let mut i = 0;
    while i < 64 {
        values[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    values
};

/// Appends `bytes` as base64.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).expect("the slice has the length of the padded text");
    debug_assert_eq!(start + written, out.len());
}

/// Appends the decoded bytes of `text`; `None` if it is not base64, in which case some may have been appended.
pub fn decode(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = text;
    loop {
        while let [..=b' ', tail @ ..] = rest {
            rest = tail;
        }
        let Some((group, tail)) = rest.split_first_chunk::<4>() else {
            return rest.is_empty().then_some(());
        };
        rest = tail;
        let [a, b, c, d] = group.map(|c| VALUES[usize::from(c)]);
        if a == NOT_A_DIGIT || b == NOT_A_DIGIT {
            return None;
        }
        out.push(a << 2 | b >> 4);
        match (c, d) {
            (NOT_A_DIGIT, _) => {
                if &group[2..] != b"==" {
                    return None;
                }
            }
            (_, NOT_A_DIGIT) => {
                if group[3] != b'=' {
                    return None;
                }
                out.push(b << 4 | c >> 2);
            }
            _ => out.extend_from_slice(&[b << 4 | c >> 2, c << 6 | d]),
        }
    }
}

/// Appends what the JDK's `Base64.getDecoder()`, and with it ksqlDB's `BytesUtils`, decodes: padding is complete or absent, and
/// the unused bits of the last digit are ignored. `None` if it is not base64, in which case some bytes may have been appended.
pub fn decode_basic(text: &str, out: &mut Vec<u8>) -> Option<()> {
    const BASIC: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone),
    );
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    let whole = padding <= 2 && text.len().is_multiple_of(4);
    (padding == 0 || whole).then(|| BASIC.decode_vec(digits, out).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for n in 0..40u8 {
            let bytes: Vec<u8> = (0..n).map(|i| i.wrapping_mul(89) ^ 0xA5).collect();
            let (mut text, mut back) = (vec![], vec![]);
            encode(&bytes, &mut text);
            assert_eq!(decode(&text, &mut back), Some(()));
            assert_eq!(back, bytes);
        }
    }

    fn basic(text: &str) -> Option<Vec<u8>> {
        let mut out = vec![];
        decode_basic(text, &mut out).map(|()| out)
    }

    #[test]
    fn the_jdk_takes_missing_padding_and_no_blanks() {
        for (text, bytes) in
            [("AQI", &[1, 2][..]), ("AQI=", &[1, 2]), ("AQ", &[1]), ("AR==", &[1]), ("", &[]), ("AQID", &[1, 2, 3])]
        {
            assert_eq!(basic(text).as_deref(), Some(bytes), "{text}");
        }
        for text in ["AQ=", "A", "====", "AQID=", "-__-", "AQ I", "AQI\n", "A==="] {
            assert_eq!(basic(text), None, "{text}");
        }
    }

    #[test]
    fn padding_is_needed_and_blanks_between_groups_are_not() {
        let read = |text: &str| {
            let mut out = vec![];
            decode(text.as_bytes(), &mut out).map(|()| out)
        };
        assert_eq!(read("dmFyaWF0aW9ucw=="), Some(b"variations".to_vec()));
        assert_eq!(read(" dmFy aWF0\n"), Some(b"variat".to_vec()));
        assert_eq!(read(""), Some(vec![]));
        assert_eq!(read("\u{1}YQ==\u{c}Yg=="), Some(b"ab".to_vec()), "control characters are blanks to Jackson");
        for text in ["YQ", "YQ=", "Y", "YQ=a", "====", "Y!==", "YWI*", "%%%%"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
