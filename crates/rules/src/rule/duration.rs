//! Lengths of time in rules: milliseconds, or a text such as `15m`.

use serde_json::Value;

use crate::limits::MAX_DURATION_MS;

/// Why a value is no length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DurationFault {
    /// Neither a number nor a text.
    Type,
    /// A text of another form.
    Format,
    /// Zero or less.
    NotPositive,
    /// More than [`MAX_DURATION_MS`].
    TooLong,
}

const UNITS: [(&str, u64); 7] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 7 * 86_400_000),
    ("y", 365 * 86_400_000),
];

/// Milliseconds. A fraction of one counts as a whole one, so that nothing is over before it has begun.
pub(crate) fn duration(value: &Value) -> Result<u64, DurationFault> {
    let milliseconds = match value {
        Value::Number(number) => match number.as_u64() {
            Some(milliseconds) => milliseconds,
            None => match number.as_f64().unwrap_or_default().ceil() {
                #[expect(clippy::cast_precision_loss, reason = "far below 2^64")]
                long if long > MAX_DURATION_MS as f64 => return Err(DurationFault::TooLong),
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in the bounds")]
                positive if positive > 0.0 => positive as u64,
                _ => 0,
            },
        },
        Value::String(text) => {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            let (count, unit) = text.split_at(digits);
            let unit = UNITS.iter().find(|(name, _)| *name == unit).ok_or(DurationFault::Format)?.1;
            if count.is_empty() {
                return Err(DurationFault::Format);
            }
            let count: Option<u64> = count.parse().ok();
            count.and_then(|count| count.checked_mul(unit)).ok_or(DurationFault::TooLong)?
        }
        _ => return Err(DurationFault::Type),
    };
    match milliseconds {
        0 => Err(DurationFault::NotPositive),
        long if long > MAX_DURATION_MS => Err(DurationFault::TooLong),
        milliseconds => Ok(milliseconds),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_with_a_unit_and_milliseconds() {
        let table = [
            (json!("5ms"), Ok(5)),
            (json!("15m"), Ok(900_000)),
            (json!("2h"), Ok(7_200_000)),
            (json!("7d"), Ok(604_800_000)),
            (json!("1w"), Ok(604_800_000)),
            (json!("1y"), Ok(31_536_000_000)),
            (json!(0.5), Ok(1)),
            (json!(1500), Ok(1500)),
            (json!(MAX_DURATION_MS), Ok(MAX_DURATION_MS)),
            (json!("5000"), Err(DurationFault::Format)),
            (json!("1h30m"), Err(DurationFault::Format)),
            (json!("m"), Err(DurationFault::Format)),
            (json!("-5m"), Err(DurationFault::Format)),
            (json!("5 m"), Err(DurationFault::Format)),
            (json!(""), Err(DurationFault::Format)),
            (json!("٣s"), Err(DurationFault::Format)),
            (json!("0s"), Err(DurationFault::NotPositive)),
            (json!(0), Err(DurationFault::NotPositive)),
            (json!(-0.5), Err(DurationFault::NotPositive)),
            (json!("99999999999999999999999s"), Err(DurationFault::TooLong)),
            (json!("18446744073709551615y"), Err(DurationFault::TooLong)),
            (json!(1e300), Err(DurationFault::TooLong)),
            (json!(null), Err(DurationFault::Type)),
            (json!(["5m"]), Err(DurationFault::Type)),
        ];
        for (value, expected) in table {
            assert_eq!(duration(&value), expected, "{value}");
        }
    }
}
