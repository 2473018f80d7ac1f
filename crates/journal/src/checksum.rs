//! The checksum of everything on disk (CRC-64/NVME), and mending a byte with its help.
//!
//! A cyclic code does not only notice damage: the difference between the checksum that was stored and the one that is found
//! depends on nothing but the damage. Damage within one byte, at any place, gives a difference of its own; so the place and
//! what is wrong there can be worked out, one step per bit. A difference that has nothing to do with a single byte (a torn
//! write, say) looks like one with a chance of about 2⁻⁵⁶ for each byte of the text.

use crc_fast::CrcAlgorithm;

/// The polynomial of CRC-64/NVME, its lowest power in the highest bit.
const POLYNOMIAL: u64 = 0x9a6c_9329_ac4b_c9b5;

/// The checksum of some bytes.
pub(crate) fn of(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)
}

/// What was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mended {
    /// The byte at this place; it is right now.
    Byte(usize),
    /// The checksum itself.
    Checksum,
}

/// Mends `bytes`, of which `stored` was the checksum, if the damage is within one byte of them or of the checksum.
pub(crate) fn mend(bytes: &mut [u8], stored: u64) -> Option<Mended> {
    let mut difference = of(bytes) ^ stored;
    if difference.to_le_bytes().iter().filter(|byte| **byte != 0).count() <= 1 {
        return Some(Mended::Checksum);
    }
    // Taking the bytes that follow the damage off the checksum again, one by one, leaves the damage in its lowest byte.
    for (place, byte) in bytes.iter_mut().enumerate().rev() {
        for _ in 0..8 {
            difference =
                if difference >> 63 == 1 { (difference ^ POLYNOMIAL) << 1 | 1 } else { difference << 1 };
        }
        if let Ok(damage) = u8::try_from(difference) {
            *byte ^= damage;
            return Some(Mended::Byte(place));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(length: usize) -> Vec<u8> {
        (0..length).map(|i| u8::try_from(i * 7919 % 251).unwrap()).collect()
    }

    #[test]
    fn it_is_the_checksum_it_says() {
        assert_eq!(of(b"123456789"), 0xae8b_1486_0a79_9888, "the check value of CRC-64/NVME");
    }

    #[test]
    fn every_damaged_byte_is_mended() {
        for length in [1, 2, 40, 333] {
            let whole = text(length);
            for place in 0..length {
                for damage in [1, 0x80, 0xff, 0x42] {
                    let mut bytes = whole.clone();
                    bytes[place] ^= damage;
                    assert_eq!(mend(&mut bytes, of(&whole)), Some(Mended::Byte(place)));
                    assert_eq!(bytes, whole);
                }
            }
            for bit in 0..64 {
                let mut bytes = whole.clone();
                assert_eq!(mend(&mut bytes, of(&whole) ^ 1 << bit), Some(Mended::Checksum));
                assert_eq!(bytes, whole);
            }
        }
    }

    #[test]
    fn more_damage_is_left_alone() {
        let whole = text(4096);
        for (from, to) in [(1, 3), (4000, 4096), (512, 1024), (0, 4096), (4094, 4096)] {
            let mut bytes = whole.clone();
            bytes[from..to].iter_mut().for_each(|byte| *byte ^= 0xa5);
            let damaged = bytes.clone();
            assert_eq!(mend(&mut bytes, of(&whole)), None, "{from}..{to}");
            assert_eq!(bytes, damaged);
        }
    }
}
