//! The options of a bucket beside its schema and indexes.

use serde_json::{Map, Value};

use super::fault::Faults;
use crate::Number;
use crate::limits::MAX_TTL_MS;
use crate::value::FieldValue;

/// What `ttl`, `maxSize`, `persistent` and `etsType` say.
pub(super) struct Options {
    pub(super) ttl: Option<u64>,
    pub(super) max_size: Option<usize>,
    pub(super) persistent: bool,
    pub(super) ordered: bool,
}

impl Options {
    pub(super) fn read(config: &Map<String, Value>, faults: &mut Faults) -> Self {
        let given = |option: &str| config.get(option).filter(|value| !value.is_null());
        if given("validate").is_some() {
            faults.add("validate", "unsupported", NO_VALIDATE);
        }
        let ttl = given("ttl").and_then(|value| match ttl(value) {
            Ok(ttl) => Some(ttl),
            Err((code, message)) => {
                faults.add("ttl", code, message);
                None
            }
        });
        let max_size = given("maxSize").and_then(|value| {
            let size = FieldValue::of_value(value).as_number().and_then(Number::as_integer);
            let size = size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
            if size.is_none() {
                faults.add("maxSize", "type", "Expected a whole number of 1 or more");
            }
            size
        });
        let persistent = match given("persistent") {
            None => true,
            Some(Value::Bool(persistent)) => *persistent,
            Some(_) => {
                faults.add("persistent", "type", "Expected a boolean");
                true
            }
        };
        let ordered = match given("etsType").map(Value::as_str) {
            None | Some(Some("set" | "bag" | "duplicate_bag")) => false,
            Some(Some("ordered_set")) => true,
            Some(_) => {
                let message = "Expected one of: set, ordered_set, bag, duplicate_bag (the bags are sets)";
                faults.add("etsType", "enum", message);
                false
            }
        };
        Self { ttl, max_size, persistent, ordered }
    }
}

pub(super) const NO_VALIDATE: &str = "A validator is code and cannot be part of a definition; give it to the server that \
                                      embeds the store (`Validators`), and leave \"validate\" out";

type Refused = (&'static str, String);

/// Milliseconds, rounded up to whole ones.
fn ttl(value: &Value) -> Result<u64, Refused> {
    let ttl = match value {
        Value::Number(number) => {
            let number = Number::of(number);
            if number <= Number::ZERO {
                return Err(("min", format!("TTL must be a positive finite number, got {number}")));
            }
            number.ceil_u64()
        }
        Value::String(text) => match ttl_text(text) {
            None => {
                let message = format!(
                    "Invalid TTL format \"{text}\". Expected a number (ms) or string like \"30s\", \"5m\", \"1h\", \"7d\"."
                );
                return Err(("format", message));
            }
            Some(0) => return Err(("min", format!("TTL value must be positive, got \"{text}\""))),
            Some(ttl) => ttl,
        },
        _ => {
            let message = "Expected a number (ms) or string like \"30s\", \"5m\", \"1h\", \"7d\"";
            return Err(("type", message.into()));
        }
    };
    if ttl > MAX_TTL_MS {
        return Err((
            "limit",
            format!("At most {MAX_TTL_MS} ms are possible; leave it out if records shall stay"),
        ));
    }
    Ok(ttl)
}

/// Digits, optionally a point and digits, optionally blanks, a unit. Computed in whole numbers, as 4.35 of a unit is
/// nothing that a double holds exactly.
fn ttl_text(text: &str) -> Option<u64> {
    let unit: u128 = match text.chars().next_back()? {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return None,
    };
    let number = text.get(..text.len() - 1)?.trim_end();
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !fraction.is_none_or(is_digits) {
        return None;
    }
    // More digits than 64 bits hold are far beyond the bound.
    let whole = whole.trim_start_matches('0');
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse::<u64>().unwrap_or(u64::MAX).into() };
    // Behind so many digits only whether there is anything left can matter, for rounding up.
    let (mut part, mut scale, mut rest) = (0_u128, 1_u128, false);
    for (i, digit) in fraction.unwrap_or_default().bytes().enumerate() {
        if i < 20 {
            part = part * 10 + u128::from(digit - b'0');
            scale *= 10;
        } else {
            rest |= digit != b'0';
        }
    }
    let scaled = part * unit + u128::from(rest);
    Some(u64::try_from(whole * unit + scaled.div_ceil(scale)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ttls() {
        let good = [
            (json!(1), 1),
            (json!(0.2), 1),
            (json!(1.5), 2),
            (json!(30.0), 30),
            (json!("30s"), 30_000),
            (json!("1.5h"), 5_400_000),
            (json!("90 d"), 7_776_000_000),
            (json!("90 \t d"), 7_776_000_000),
            (json!("01s"), 1_000),
            (json!("4.35s"), 4_350),
            (json!("0.0001s"), 1),
            (json!("0.000000000000000000000001d"), 1),
            (json!("0.10000000000000000000000000s"), 100),
            (json!("0.10000000000000000000000001s"), 101),
            (json!(MAX_TTL_MS), MAX_TTL_MS),
        ];
        for (value, expected) in good {
            assert_eq!(ttl(&value), Ok(expected), "{value}");
        }
        let formats = [
            "1000", "1ms", "1w", "1H", ".5h", "1.h", "1..5h", "-5m", "+5m", " 1s", "1s ", "s", "", "é",
            "1e3s", "٣s",
        ];
        for text in formats {
            let message = format!(
                "Invalid TTL format \"{text}\". Expected a number (ms) or string like \"30s\", \"5m\", \"1h\", \"7d\"."
            );
            assert_eq!(ttl(&json!(text)), Err(("format", message)), "{text}");
        }
        let told = |value: Value| ttl(&value).unwrap_err();
        assert_eq!(told(json!(0)), ("min", "TTL must be a positive finite number, got 0".into()));
        assert_eq!(told(json!(-1.5)).1, "TTL must be a positive finite number, got -1.5");
        assert_eq!(told(json!("0.0d")), ("min", "TTL value must be positive, got \"0.0d\"".into()));
        for value in [json!(true), json!([5]), json!({})] {
            assert_eq!(told(value).0, "type");
        }
        for value in
            [json!(1e300), json!(MAX_TTL_MS + 1), json!("99999999999999999999999d"), json!("100000001d")]
        {
            assert_eq!(told(value).0, "limit");
        }
    }
}
