//! The checks of single fields, and the words they refuse with.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Aggregate, Explained, Grouping, KeyField, Object, PageFields};
use crate::limits::{MAX_BACKUP_NAME, MAX_GROUP_FIELDS, MAX_INSERTED};
use crate::request::{Fields, Scalar};
use crate::{Code, Error};

pub(super) fn validation(message: String) -> Error {
    Error::new(Code::ValidationError, message)
}

/// A non-empty string.
pub(super) fn text<'a>(field: &str, value: Option<&Scalar<'a>>) -> Result<Cow<'a, str>, Error> {
    match value {
        Some(Scalar::Text(text)) if !text.is_empty() => Ok(text.clone()),
        _ => Err(validation(format!("Missing or invalid \"{field}\": expected non-empty string"))),
    }
}

/// The same of a field that may also hold something else in other operations.
pub(super) fn string<'a>(field: &str, raw: Option<&'a RawValue>) -> Result<Cow<'a, str>, Error> {
    text(field, raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).as_ref())
}

/// The same of a field that may be left out.
pub(super) fn optional_string<'a>(
    field: &str,
    raw: Option<&'a RawValue>,
) -> Result<Option<Cow<'a, str>>, Error> {
    match raw {
        Some(raw) if raw.get() != "null" => match serde_json::from_str(raw.get()) {
            Ok(Scalar::Text(text)) if !text.is_empty() => Ok(Some(text)),
            _ => Err(validation(format!("Invalid \"{field}\": expected non-empty string"))),
        },
        _ => Ok(None),
    }
}

/// What a backup is to be called; absent and `null` both mean "as usual". It becomes the name of a file, so that nothing may be
/// in it that could lead elsewhere, and no end by which unfinished files are known.
pub(super) fn backup_name<'a>(value: Option<&Scalar<'a>>) -> Result<Option<Cow<'a, str>>, Error> {
    let is_name = |name: &str| {
        (1..=MAX_BACKUP_NAME).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
            && !name.starts_with('.')
            && !name.to_ascii_lowercase().ends_with(".new")
    };
    match value {
        None | Some(Scalar::Null) => Ok(None),
        Some(Scalar::Text(name)) if is_name(name) => Ok(Some(name.clone())),
        _ => Err(validation(format!(
            "Invalid \"name\": expected 1 to {MAX_BACKUP_NAME} letters, digits, \".\", \"_\" and \"-\", not beginning with \".\" \
             and not ending in \".new\""
        ))),
    }
}

pub(super) fn object(field: &str, raw: Option<&RawValue>) -> Result<Object, Error> {
    match raw {
        Some(raw) if raw.get().starts_with('{') => parsed(field, raw),
        _ => Err(validation(format!("Missing or invalid \"{field}\": expected object"))),
    }
}

/// Absent and `null` both mean "none".
pub(super) fn optional_object(field: &str, raw: Option<&RawValue>) -> Result<Option<Object>, Error> {
    match raw {
        None => Ok(None),
        Some(raw) if raw.get() == "null" => Ok(None),
        Some(raw) if raw.get().starts_with('{') => parsed(field, raw).map(Some),
        Some(_) => Err(validation(format!("Invalid \"{field}\": expected object"))),
    }
}

/// `cursor`, `filter` and `sort` of a `paginate`; `None` if it has none of them, be it as `null`.
pub(super) fn page(fields: &Fields<'_>, has_after: bool) -> Result<Option<PageFields>, Error> {
    if fields.cursor.is_none() && fields.filter.is_none() && fields.sort.is_none() {
        return Ok(None);
    }
    if has_after {
        let message = "\"after\" does not go together with \"cursor\", \"filter\" or \"sort\": leave it out and give the \
                       \"cursor\" of the page before";
        return Err(validation(message.to_owned()));
    }
    let cursor = match &fields.cursor {
        None | Some(Scalar::Null) => None,
        Some(Scalar::Text(cursor)) => Some(cursor.clone().into_owned()),
        Some(_) => return Err(validation("Invalid \"cursor\": expected string or null".to_owned())),
    };
    let filter = optional_object("filter", fields.filter)?;
    let sort = optional_object("sort", fields.sort)?;
    Ok(Some(PageFields { cursor, filter, sort }))
}

/// `bucket` and `filter`, or `query` and `params`, or `subscriptionId`, of an `explain`.
pub(super) fn explained<'a>(fields: &Fields<'a>) -> Result<Explained<'a>, Error> {
    Ok(match (&fields.bucket, fields.query, &fields.subscription_id) {
        (Some(bucket), None, None) => Explained::Bucket {
            bucket: text("bucket", Some(bucket))?,
            filter: optional_object("filter", fields.filter)?,
        },
        (None, Some(query), None) => {
            Explained::Query { query: string("query", Some(query))?, params: params(fields)? }
        }
        (None, None, Some(id)) => {
            Explained::Subscription { subscription_id: text("subscriptionId", Some(id))? }
        }
        _ => {
            let message = "Expected either \"bucket\", \"query\" or \"subscriptionId\"";
            return Err(validation(message.to_owned()));
        }
    })
}

/// The parameters of a query; absent is `null`.
pub(super) fn params(fields: &Fields<'_>) -> Result<Value, Error> {
    fields.params.map_or(Ok(Value::Null), |raw| parsed("params", raw))
}

/// An array of objects.
pub(super) fn objects(field: &str, raw: Option<&RawValue>) -> Result<Vec<Object>, Error> {
    let items = raw.and_then(|raw| items(raw, MAX_INSERTED));
    let Some(items) = items else {
        return Err(validation(format!("Missing or invalid \"{field}\": expected array of objects")));
    };
    items
        .map_err(|count| {
            validation(format!(
                "Invalid \"{field}\": {count} records are too many, at most {MAX_INSERTED} are possible at once; send \
                 several requests"
            ))
        })?
        .into_iter()
        .enumerate()
        .map(|(i, item)| object(&format!("{field}[{i}]"), Some(item)))
        .collect()
}

/// `field` and `aggregate` of a `groupBy`.
pub(super) fn grouping(fields: &Fields<'_>) -> Result<Grouping, Error> {
    let by = grouped_by(fields.field)?;
    let aggregate = object("aggregate", fields.aggregate)?;
    let named = aggregate.get("function").and_then(Value::as_str).and_then(Aggregate::named);
    let Some(function) = named else {
        let message = "Missing or invalid \"aggregate.function\": expected one of: count, sum, avg, min, max";
        return Err(validation(message.to_owned()));
    };
    let field = match aggregate.get("field") {
        // A count counts records, whatever a field holds.
        _ if function == Aggregate::Count => String::new(),
        Some(Value::String(field)) if !field.is_empty() => field.clone(),
        _ => {
            let message = "Missing or invalid \"aggregate.field\": expected non-empty string";
            return Err(validation(message.to_owned()));
        }
    };
    Ok(Grouping { by, function, field })
}

/// One field name, or an array of them.
fn grouped_by(raw: Option<&RawValue>) -> Result<Vec<String>, Error> {
    let wrong = || {
        validation(format!(
            "Missing or invalid \"field\": expected non-empty string or array of at most {MAX_GROUP_FIELDS} strings"
        ))
    };
    let raw = raw.ok_or_else(wrong)?;
    let names: Vec<String> = match items(raw, MAX_GROUP_FIELDS) {
        None => vec![string("field", Some(raw)).map_err(|_| wrong())?.into_owned()],
        Some(Err(_)) => return Err(wrong()),
        Some(Ok(items)) => {
            let names = items.into_iter().map(|item| serde_json::from_str(item.get()));
            names.collect::<Result<_, _>>().map_err(|_| wrong())?
        }
    };
    Ok(names)
}

/// The elements of an array, or how many there are if they are more than `most`; `None` if it is no array. What stands in
/// the elements is not looked at.
pub(super) fn items(raw: &RawValue, most: usize) -> Option<Result<Vec<&RawValue>, usize>> {
    struct Items(usize);

    impl<'de> Visitor<'de> for Items {
        type Value = Result<Vec<&'de RawValue>, usize>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while items.len() < self.0 {
                match array.next_element()? {
                    Some(item) => items.push(item),
                    None => return Ok(Ok(items)),
                }
            }
            let mut count = items.len();
            while array.next_element::<IgnoredAny>()?.is_some() {
                count += 1;
            }
            Ok(if count > items.len() { Err(count) } else { Ok(items) })
        }
    }

    serde_json::Deserializer::from_str(raw.get()).deserialize_seq(Items(most)).ok()
}

/// An integer of at least 1; `2.0` is one, as it is in JavaScript.
pub(super) fn positive(field: &str, value: Option<&Scalar<'_>>) -> Result<usize, Error> {
    let whole = match value {
        Some(Scalar::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(n), _) => usize::try_from(n).ok(),
            // Whatever a double holds beyond 2^53 is more than any bucket has: the exact count no longer matters.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole and positive; `as` saturates"
            )]
            (None, Some(n)) if n.fract() == 0.0 && n >= 1.0 => Some(n as usize),
            _ => None,
        },
        _ => None,
    };
    whole
        .filter(|n| *n >= 1)
        .ok_or_else(|| validation(format!("Missing or invalid \"{field}\": expected positive integer")))
}

/// A whole number of 0 or more, if it is given. `null` is none: whoever sends it may believe to have asked for something.
pub(super) fn whole(field: &str, value: Option<&Scalar<'_>>) -> Result<Option<u64>, Error> {
    let Some(value) = value else { return Ok(None) };
    let wrong = || validation(format!("Invalid \"{field}\": expected whole number of 0 or more"));
    whole_number(&any(value)).ok_or_else(wrong).map(Some)
}

/// A whole number; `2.0` is one, as it is in JavaScript.
pub(super) fn whole_number(value: &Value) -> Option<u64> {
    /// 2^53: from here on doubles skip whole numbers.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and within the range")]
    value.as_u64().or_else(|| {
        let number =
            value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=EXACT).contains(number))?;
        Some(number as u64)
    })
}

/// Anything but `null`.
pub(super) fn key_field<'a>(fields: &Fields<'a>) -> Result<KeyField<'a>, Error> {
    match &fields.key {
        None | Some(Scalar::Null) => Err(validation("Missing \"key\": expected non-null value".to_owned())),
        Some(Scalar::Text(text)) => Ok(KeyField::Text(text.clone())),
        Some(other) => Ok(KeyField::Other(any(other))),
    }
}

pub(super) fn key(fields: &Fields<'_>) -> Result<Value, Error> {
    key_field(fields).map(KeyField::into_value)
}

/// A scalar as a value of its own. An object or array can be no key and no cursor, whatever is in it, so that an empty
/// array stands for all of them.
pub(super) fn any(scalar: &Scalar<'_>) -> Value {
    match scalar {
        Scalar::Null => Value::Null,
        Scalar::Bool(value) => Value::Bool(*value),
        Scalar::Number(number) => Value::Number(number.clone()),
        Scalar::Text(text) => Value::String(text.clone().into_owned()),
        Scalar::Composite => Value::Array(Vec::new()),
    }
}

/// Syntax was checked with the frame; what can still fail is a number no double holds, a lone surrogate, or nesting beyond
/// `serde_json`'s limit of 128 levels.
pub(super) fn parsed<T: serde::de::DeserializeOwned>(field: &str, raw: &RawValue) -> Result<T, Error> {
    serde_json::from_str(raw.get()).map_err(|error| {
        validation(format!(
            "Invalid \"{field}\": {error}. Numbers must fit a double, text must be valid Unicode, nesting may go 127 levels deep"
        ))
    })
}
