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

    /// Appends the number as JSON.
    pub(crate) fn push_to(self, out: &mut String) {
        match self.0 {
            Repr::Unsigned(number) => out.push_str(itoa::Buffer::new().format(number)),
            Repr::Signed(number) => out.push_str(itoa::Buffer::new().format(number)),
            Repr::Double(number) => out.push_str(&crate::frame::json(&number)),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.push_to(&mut text);
        f.write_str(&text)
    }
}
