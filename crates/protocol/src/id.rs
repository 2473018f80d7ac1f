//! The number by which a client knows an answer again.

use std::fmt;

use serde_json::Number;

/// The `id` of a request: any finite JSON number, echoed as the same number.
///
/// ```
/// use dunlin_protocol::Id;
/// assert_eq!(Id::ZERO.to_string(), "0");
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Id(Repr);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Repr {
    Unsigned(u64),
    Signed(i64),
    /// Finite.
    Double(f64),
}

impl Id {
    /// The id of what cannot be attributed to a request.
    pub const ZERO: Self = Self(Repr::Unsigned(0));

    pub(crate) fn of(number: &Number) -> Self {
        Self(match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Repr::Unsigned(number),
            (None, Some(number)) => Repr::Signed(number),
            // Without arbitrary precision every number is one of the three.
            (None, None) => Repr::Double(number.as_f64().unwrap_or_default()),
        })
    }

    /// Hands the number over as JSON.
    pub(crate) fn with_text<T>(self, f: impl FnOnce(&str) -> T) -> T {
        match self.0 {
            Repr::Unsigned(number) => f(itoa::Buffer::new().format(number)),
            Repr::Signed(number) => f(itoa::Buffer::new().format(number)),
            Repr::Double(number) => f(&crate::frame::json(&number)),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}
