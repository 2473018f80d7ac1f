//! Numbers as ASCII: a word is 64 bits and a small tag, packed into ten bytes of seven bits each. Whatever is packed so
//! is valid UTF-8 and can stand in one text with what it describes.

/// Bytes of a packed word.
pub(crate) const WORD: usize = 10;

/// Bits of a word's value that stand in its first eight bytes.
const LOW: u32 = 56;

/// Packs a value and a tag below 64.
pub(crate) fn pack(value: u64, tag: u8) -> [u8; WORD] {
    let low = value & ((1 << LOW) - 1);
    // Halves of 28 bits, quarters of 14, eighths of 7, each moved to where its byte starts.
    let low = (low & 0x0FFF_FFFF) | (low & 0x00FF_FFFF_F000_0000) << 4;
    let low = (low & 0x0000_3FFF_0000_3FFF) | (low & 0x0FFF_C000_0FFF_C000) << 2;
    let low = (low & 0x007F_007F_007F_007F) | (low & 0x3F80_3F80_3F80_3F80) << 1;
    let [.., high] = value.to_le_bytes();
    let mut word = [0; WORD];
    let (start, end) = word.split_at_mut(WORD - 2);
    start.copy_from_slice(&low.to_le_bytes());
    end.copy_from_slice(&[high & 0x7F, high >> 7 | (tag & 0x3F) << 1]);
    word
}

/// The value and the tag that were packed.
pub(crate) fn unpack(word: &[u8; WORD]) -> (u64, u8) {
    let [low @ .., high, top] = *word;
    let low = u64::from_le_bytes(low);
    let low = (low & 0x007F_007F_007F_007F) | (low & 0x7F00_7F00_7F00_7F00) >> 1;
    let low = (low & 0x0000_3FFF_0000_3FFF) | (low & 0x3FFF_0000_3FFF_0000) >> 2;
    let low = (low & 0x0FFF_FFFF) | (low & 0x0FFF_FFFF_0000_0000) >> 4;
    (low | u64::from(high | top << 7) << LOW, top >> 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_ascii_and_comes_back(value: u64, shift in 0_u32..64, tag in 0_u8..64) {
            for value in [value, value >> shift, !(value >> shift)] {
                let word = pack(value, tag);
                prop_assert!(word.is_ascii());
                prop_assert_eq!(unpack(&word), (value, tag));
            }
        }
    }
}
