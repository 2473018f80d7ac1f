//! Durations as rules write them: `"15m"`, or a number of milliseconds.

use serde_json::Value;

use crate::limits::MAX_DURATION_MS;

/// Why a value is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationFault {
    /// It is neither a text nor a number.
    #[error("must be a string (e.g., \"5m\") or number (milliseconds)")]
    Type,
    /// A text of another form.
    #[error("use formats like \"5m\", \"1h\", \"7d\"")]
    Format,
    /// Zero or less.
    #[error("must be positive")]
    NotPositive,
    /// More than [`MAX_DURATION_MS`].
    #[error("must be at most {MAX_DURATION_MS} ms")]
    TooLong,
}

/// Milliseconds in a second, and in what is made of seconds. A year has 365 days.
const UNITS: [(&str, u64); 7] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("d", 24 * 60 * 60 * 1000),
    ("w", 7 * 24 * 60 * 60 * 1000),
    ("y", 365 * 24 * 60 * 60 * 1000),
];

/// Reads a duration, in milliseconds: digits and one of `ms s m h d w y`, or a number. A part of a
/// millisecond counts as a whole one, so that nothing is over before it has begun.
///
/// ```
/// use dunlin_rules::duration;
///
/// assert_eq!(duration::parse(&"15m".into()), Ok(900_000));
/// assert_eq!(duration::parse(&250.into()), Ok(250));
/// assert!(duration::parse(&"1h30m".into()).is_err());
/// ```
///
/// # Errors
/// What is no duration, not positive, or too long.
pub fn parse(value: &Value) -> Result<u64, DurationFault> {
    let milliseconds = match value {
        Value::String(text) => parse_text(text)?,
        Value::Number(number) => whole(number.as_f64().unwrap_or_default())?,
        _ => return Err(DurationFault::Type),
    };
    match milliseconds {
        0 => Err(DurationFault::NotPositive),
        1..=MAX_DURATION_MS => Ok(milliseconds),
        _ => Err(DurationFault::TooLong),
    }
}

fn parse_text(text: &str) -> Result<u64, DurationFault> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(DurationFault::Format)?;
    if number.is_empty() {
        return Err(DurationFault::Format);
    }
    // Digits that do not fit are too many.
    let number: u64 = number.parse().map_err(|_| DurationFault::TooLong)?;
    number.checked_mul(*factor).ok_or(DurationFault::TooLong)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be small and positive"
)]
#[expect(clippy::cast_precision_loss, reason = "the bound is below 2^53")]
fn whole(number: f64) -> Result<u64, DurationFault> {
    if number > MAX_DURATION_MS as f64 {
        return Err(DurationFault::TooLong);
    }
    Ok(number.max(0.0).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations() {
        let table = [
            (json!("250ms"), Ok(250)),
            (json!("1s"), Ok(1000)),
            (json!("007m"), Ok(420_000)),
            (json!("1h"), Ok(3_600_000)),
            (json!("2d"), Ok(172_800_000)),
            (json!("1w"), Ok(604_800_000)),
            (json!("1y"), Ok(31_536_000_000)),
            (json!(1.1), Ok(2)),
            (json!(0.5), Ok(1)),
            (json!(8_640_000_000_000_000_u64), Ok(MAX_DURATION_MS)),
            (json!(8_640_000_000_000_001_u64), Err(DurationFault::TooLong)),
            (json!("99999999999999999999999ms"), Err(DurationFault::TooLong)),
            (json!("9999999999999y"), Err(DurationFault::TooLong)),
            (json!(1e300), Err(DurationFault::TooLong)),
            (json!(0), Err(DurationFault::NotPositive)),
            (json!(-0.5), Err(DurationFault::NotPositive)),
            (json!("\u{663}s"), Err(DurationFault::Format)),
            (json!(-5), Err(DurationFault::NotPositive)),
            (json!("0s"), Err(DurationFault::NotPositive)),
            (json!("5000"), Err(DurationFault::Format)),
            (json!("1h30m"), Err(DurationFault::Format)),
            (json!("s"), Err(DurationFault::Format)),
            (json!("-1s"), Err(DurationFault::Format)),
            (json!(" 1s"), Err(DurationFault::Format)),
            (json!("1 s"), Err(DurationFault::Format)),
            (json!("1M"), Err(DurationFault::Format)),
            (json!(""), Err(DurationFault::Format)),
            (json!(null), Err(DurationFault::Type)),
            (json!([1]), Err(DurationFault::Type)),
        ];
        for (value, expected) in table {
            assert_eq!(parse(&value), expected, "{value}");
        }
    }
}
