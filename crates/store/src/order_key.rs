//! Values as numbers that have the order of the values.

use crate::value::surrogates_first;
use crate::{FieldValue, Number};

/// A scalar's place in the order of values (`null`, booleans, numbers by value, strings by UTF-16 code units), as one
/// number. It is exact for all scalars but strings of more than [`PREFIX`] bytes, of which only the beginning counts.
///
/// The highest byte tells the type. A number is the nearest double, its bits made to sort, then how far an integer lies
/// from it; a string is its first bytes, padded with zeros, then its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OrderKey(u128);

/// Bytes of a string that stand in a key.
const PREFIX: usize = 14;
/// Stands for the length of all longer strings.
const LONG: u8 = 15;

impl OrderKey {
    /// `None` for what is no scalar: absent members, objects and arrays.
    pub(crate) fn of(value: &FieldValue<'_>) -> Option<Self> {
        Some(match value {
            FieldValue::Absent | FieldValue::Json(_) => return None,
            FieldValue::Null => typed(1, 0),
            FieldValue::Bool(bool) => typed(2, (*bool).into()),
            FieldValue::Number(number) => typed(3, number_bits(*number)),
            FieldValue::Str(text) => typed(4, string_bits(text.as_bytes())),
        })
    }

    /// Whether only equal values have this key; otherwise it is that of a long string's beginning.
    pub(crate) fn is_whole(self) -> bool {
        self.0 >> 120 != 4 || self.0 & 0xFF != LONG.into()
    }
}

/// A stretch of keys, both ends in it. Every value that is meant lies in it; a value whose key is not whole may lie in it
/// without being meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyRange {
    pub(crate) low: OrderKey,
    pub(crate) high: OrderKey,
}

impl KeyRange {
    /// All scalars but `null`.
    pub(crate) const NOT_NULL: Self = Self { low: OrderKey(2 << 120), high: OrderKey(u128::MAX) };

    /// What lies behind a key of it.
    pub(crate) fn behind(self, key: OrderKey) -> Self {
        Self { low: OrderKey(key.0.saturating_add(1)), ..self }
    }

    /// What lies before a key of it.
    pub(crate) fn before(self, key: OrderKey) -> Self {
        Self { high: OrderKey(key.0.saturating_sub(1)), ..self }
    }

    /// Values of the same type above, or `inclusive` at, a number or string.
    pub(crate) fn above(value: &FieldValue<'_>, inclusive: bool) -> Option<Self> {
        let key = OrderKey::of(value)?;
        let low = if inclusive || !key.is_whole() { key } else { OrderKey(key.0 + 1) };
        Some(Self { low, high: OrderKey(key.0 | u128::MAX >> 8) })
    }

    /// Values of the same type below, or `inclusive` at, a number or string.
    pub(crate) fn below(value: &FieldValue<'_>, inclusive: bool) -> Option<Self> {
        let key = OrderKey::of(value)?;
        let high = if inclusive || !key.is_whole() { key } else { OrderKey(key.0 - 1) };
        Some(Self { low: OrderKey(key.0 >> 120 << 120), high })
    }

    /// Strings that begin so.
    pub(crate) fn prefix(text: &str) -> Self {
        let bits = string_bits(text.as_bytes()) & !0xFF;
        let open = 8 * (PREFIX - text.len().min(PREFIX)) + 8;
        Self { low: typed(4, bits), high: typed(4, bits | ((1 << open) - 1)) }
    }

    /// What lies in both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { low: self.low.max(other.low), high: self.high.min(other.high) }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.low > self.high
    }
}

fn typed(rank: u128, bits: u128) -> OrderKey {
    OrderKey(rank << 120 | bits)
}

fn number_bits(number: Number) -> u128 {
    let float = number.as_f64();
    let sign = 1 << 63;
    let bits = float.to_bits();
    let sortable = if bits & sign == 0 { bits | sign } else { !bits };
    // At most 1024 from the nearest double; 0 if the number is no integer or a small one.
    #[expect(clippy::cast_possible_truncation, reason = "the double nearest to an integer is whole")]
    let beyond = number.as_integer().map_or(0, |int| int - float as i128);
    u128::from(sortable) << 16 | (beyond + 0x8000).cast_unsigned() & 0xFFFF
}

fn string_bits(text: &[u8]) -> u128 {
    let mut bits = 0;
    for i in 0..PREFIX {
        bits = bits << 8 | u128::from(text.get(i).map_or(0, |byte| surrogates_first(*byte)));
    }
    let length = u8::try_from(text.len()).unwrap_or(LONG).min(LONG);
    bits << 8 | u128::from(length)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;
    use crate::value::value_order;

    fn value() -> impl Strategy<Value = FieldValue<'static>> {
        let edge = (0_u32..64, -1030_i64..1030).prop_map(|(bit, by)| (1_u64 << bit).wrapping_add_signed(by));
        prop_oneof![
            Just(FieldValue::Null),
            any::<bool>().prop_map(FieldValue::Bool),
            any::<f64>().prop_map(|float| FieldValue::Number(float.into())),
            any::<i64>().prop_map(|int| FieldValue::Number(int.into())),
            edge.clone().prop_map(|int| FieldValue::Number(int.into())),
            edge.clone().prop_map(|int| FieldValue::Number(int.wrapping_neg().cast_signed().into())),
            (edge, -2_i32..2).prop_map(|(int, by)| {
                let float = Number::from(int).as_f64();
                FieldValue::Number((float + f64::from(by) / 2.0).into())
            }),
            "[a\u{0}\u{E000}\u{10000}]{0,16}".prop_map(|text| FieldValue::Str(Cow::Owned(text))),
            "a{10,14}[ab\u{0}]{0,4}".prop_map(|text| FieldValue::Str(Cow::Owned(text))),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn keys_have_the_order_of_values(a in value(), b in value()) {
            let (Some(x), Some(y)) = (OrderKey::of(&a), OrderKey::of(&b)) else {
                return Err(TestCaseError::fail("a scalar without a key"));
            };
            if x != y || x.is_whole() {
                prop_assert_eq!(x.cmp(&y), value_order(&a, &b), "{:?} {:?}", a, b);
            }
        }
    }

    proptest! {
        #[test]
        fn ranges_hold_what_they_mean(a in value(), b in value(), prefix in "[a\u{0}\u{10000}]{0,16}") {
            let key = OrderKey::of(&b).unwrap();
            let holds = |range: KeyRange| range.low <= key && key <= range.high;
            if let (FieldValue::Number(_), FieldValue::Number(_)) | (FieldValue::Str(_), FieldValue::Str(_)) = (&a, &b) {
                let order = value_order(&b, &a);
                let ranges = [
                    (order.is_gt(), KeyRange::above(&a, false)),
                    (order.is_ge(), KeyRange::above(&a, true)),
                    (order.is_lt(), KeyRange::below(&a, false)),
                    (order.is_le(), KeyRange::below(&a, true)),
                ];
                for (meant, range) in ranges {
                    prop_assert!(!meant || holds(range.unwrap()), "{:?} {:?}", a, b);
                    if OrderKey::of(&a).unwrap().is_whole() {
                        prop_assert_eq!(meant, holds(range.unwrap()), "{:?} {:?}", a, b);
                    }
                }
            }
            if let Some(text) = b.as_str() {
                prop_assert!(!text.starts_with(&prefix) || holds(KeyRange::prefix(&prefix)), "{:?} {:?}", prefix, b);
            }
            prop_assert_eq!(holds(KeyRange::NOT_NULL), b != FieldValue::Null);
        }
    }

    #[test]
    fn what_is_no_scalar_has_no_key() {
        assert_eq!(OrderKey::of(&FieldValue::Absent), None);
        assert_eq!(OrderKey::of(&FieldValue::Json("[]")), None);
    }
}
