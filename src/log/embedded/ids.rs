//! Random ids of clusters and topics, in Kafka's form (`Uuid.toString`, KIP-516).

use crate::error::{Error, Result};

/// Draws a random id.
#[expect(clippy::disallowed_methods, reason = "an id decides no result: it only has to be unique")]
pub(super) fn fresh() -> Result<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::io("the system provides no random numbers").with_detail(e.to_string()))?;
    Ok(u128::from_le_bytes(bytes))
}

/// An id as Kafka prints it: URL-safe base64 without padding.
pub(super) fn text(id: u128) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // 128 bits are 22 digits, the last of which holds two bits.
    let digit = |at: u32| {
        let bits = if at < 21 { id >> (122 - 6 * at) } else { id << 4 };
        DIGITS[(bits & 63) as usize] as char
    };
    (0..22).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_print_as_kafkas() {
        assert_eq!(text(0), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(text(u128::MAX), "_____________________w");
        assert_eq!(text(1), "AAAAAAAAAAAAAAAAAAAAAQ");
    }
}
