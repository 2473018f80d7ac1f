//! Makes the values of `generated` fields from bits and times given by the caller.

use serde_json::Value;

use crate::{Context, Generator};

/// The value of a generated field of a record inserted now; `counter` is the bucket's number for this record.
pub(crate) fn generate(generator: Generator, counter: u64, ctx: &mut Context<'_>) -> Value {
    match generator {
        Generator::Uuid => uuid(ctx.ids.next()).into(),
        Generator::Cuid => format!("c{:032x}", ctx.ids.next()).into(),
        Generator::Autoincrement => counter.into(),
        Generator::Timestamp => ctx.now.into(),
    }
}

/// A version 4 (random) UUID from 128 bits, lower case with hyphens.
fn uuid(bits: u128) -> String {
    const VERSION_AND_VARIANT: u128 = 0xF000_C000_0000_0000_0000;
    const VERSION_4_VARIANT_1: u128 = 0x4000_8000_0000_0000_0000;
    let hex = format!("{:032x}", bits & !VERSION_AND_VARIANT | VERSION_4_VARIANT_1);
    let mut text = String::with_capacity(36);
    for (i, digit) in hex.chars().enumerate() {
        if matches!(i, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::uuid;

    #[test]
    fn uuids_carry_version_and_variant() {
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
