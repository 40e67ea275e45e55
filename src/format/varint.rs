//! Varints of several bytes without a loop: a payload's numbers have lengths that no branch predictor knows.
//!
//! ```text
//! bytes, lowest first     b1..... b2..... b3.....  (the high bit says that another byte follows)
//! value                   b3 << 14 | b2 << 7 | b1
//! ```

/// High bits of eight bytes.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The varint at the start and its number of bytes, if it has eight at most and eight bytes are there. Others are read byte
/// by byte.
#[inline(always)]
pub(super) fn short(d: &[u8]) -> Option<(u64, usize)> {
    let word = u64::from_le_bytes(*d.first_chunk::<8>()?);
    let ends = !word & HIGH;
    if ends == 0 {
        return None;
    }
    let bits = ends.trailing_zeros() + 1;
    let groups = word & (u64::MAX >> (64 - bits)) & !HIGH;
    let groups = (groups & 0x007F_007F_007F_007F) | ((groups & 0x7F00_7F00_7F00_7F00) >> 1);
    let groups = (groups & 0x0000_3FFF_0000_3FFF) | ((groups & 0x3FFF_0000_3FFF_0000) >> 2);
    let value = (groups & 0x0FFF_FFFF) | ((groups & 0x0FFF_FFFF_0000_0000) >> 4);
    Some((value, (bits / 8) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_reading_byte_by_byte() {
        let mut bits = 1u64;
        for n in 0..2_000u32 {
            bits = bits.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(u64::from(n));
            let value = bits >> (n % 64);
            let mut bytes = vec![];
            let mut rest = value;
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
            let length = bytes.len();
            bytes.extend_from_slice(&[0xFF; 8]);
            assert_eq!(short(&bytes), (length <= 8).then_some((value, length)), "{value}");
        }
        assert_eq!(short(&[1; 7]), None, "seven bytes are too few to look at eight");
        assert_eq!(short(&[0x80; 8]), None);
        assert_eq!(short(&[0x80, 0, 9, 9, 9, 9, 9, 9]), Some((0, 2)), "more bytes than it needs");
    }
}
