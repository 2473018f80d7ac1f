//! Reads references, texts with references in them, and values with both.

use std::sync::Arc;

use serde_json::Value;

use super::{Operand, Part, Path, Reference, Template};
use crate::limits::MAX_DEPTH;

/// What a reference may begin with, for messages.
const SOURCES: &str = "event, trigger, fact.<key>, var.<name>, matched.<i>, lookup.<name>";

impl Reference {
    /// Reads a reference as it stands in `{"ref": "…"}` and between `${` and `}`.
    ///
    /// ```
    /// use dunlin_rules::condition::Reference;
    ///
    /// assert!(Reference::parse("event.items.0.sku").is_ok());
    /// assert!(Reference::parse("fact.limit:${event.user}").is_ok());
    /// assert!(Reference::parse("evnt.total").unwrap_err().contains("begins with"));
    /// ```
    ///
    /// # Errors
    /// A sentence: what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        reference(text, 0)
    }
}

fn reference(text: &str, depth: usize) -> Result<Reference, String> {
    if depth > MAX_DEPTH {
        return Err(format!("References lie in each other more than {MAX_DEPTH} deep"));
    }
    let (source, rest) = text.split_once('.').map_or((text, None), |(source, rest)| (source, Some(rest)));
    let path = |rest: Option<&str>| match rest {
        None => Ok(Path::default()),
        Some(rest) => path(rest).map_err(|()| format!("Reference \"{text}\" has an empty segment")),
    };
    let named = |what: &str| {
        rest.ok_or_else(|| format!("Reference \"{text}\" must name a {what}: {source}.<{what}>"))
    };
    match source {
        "event" | "trigger" => path(rest).map(Reference::Trigger),
        "fact" => match named("key")? {
            "" => Err(format!("Reference \"{text}\" must name a key: fact.<key>")),
            key => template(key, depth + 1).map(Reference::Fact),
        },
        "var" => path(Some(named("name")?)).map(Reference::Variable),
        "matched" => {
            let rest = named("i")?;
            let (index, inner) = rest.split_once('.').map_or((rest, None), |(i, inner)| (i, Some(inner)));
            let digits = index.bytes().all(|byte| byte.is_ascii_digit());
            match index.parse() {
                Ok(index) if digits => Ok(Reference::Matched(index, path(inner)?)),
                _ => Err(format!("Reference \"{text}\" must number an event: matched.0 is the first")),
            }
        }
        "lookup" => {
            let rest = named("name")?;
            let (name, inner) =
                rest.split_once('.').map_or((rest, None), |(name, inner)| (name, Some(inner)));
            if name.is_empty() {
                return Err(format!("Reference \"{text}\" must name a lookup: lookup.<name>"));
            }
            Ok(Reference::Lookup(name.into(), path(inner)?))
        }
        _ => {
            Err(format!("Unknown reference source: \"{source}\". A reference begins with one of: {SOURCES}"))
        }
    }
}

/// A path without empty segments.
pub(crate) fn path(text: &str) -> Result<Path, ()> {
    if text.split('.').any(str::is_empty) { Err(()) } else { Ok(Path::new(text)) }
}

impl Template {
    /// Reads a text. What stands between `${` and `}` must be a reference, in which the key of a fact may have references of its own.
    ///
    /// ```
    /// use dunlin_rules::condition::Template;
    ///
    /// assert!(Template::parse("plain, even with $ and {}").unwrap().constant().is_some());
    /// assert_eq!(Template::parse("${fact.rate:${event.currency}} %").unwrap().parts.len(), 2);
    /// assert!(Template::parse("${event.id").unwrap_err().contains("never closed"));
    /// ```
    ///
    /// # Errors
    /// A sentence: what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        template(text, 0)
    }

    /// A text that stands for itself, whatever is in it.
    pub fn literal(text: &str) -> Self {
        let text: Arc<str> = text.into();
        Self { parts: vec![Part::Literal(Arc::clone(&text))], text }
    }
}

fn template(text: &str, depth: usize) -> Result<Template, String> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((literal, behind)) = rest.split_once("${") {
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        let Some(end) = closing(behind) else {
            return Err(format!("A \"${{\" is never closed in \"{}\"; write \"${{event.x}}\"", short(text)));
        };
        let (inner, after) = behind.split_at(end);
        parts.push(Part::Reference(reference(inner, depth + 1)?));
        rest = after.get(1..).unwrap_or_default();
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.into()));
    }
    Ok(Template { text: text.into(), parts })
}

/// Where the brace stands that closes one which is open already.
fn closing(text: &str) -> Option<usize> {
    let (mut open, mut before) = (1usize, ' ');
    for (at, c) in text.char_indices() {
        match c {
            '{' if before == '$' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
        before = c;
    }
    None
}

/// The beginning of a text, for messages.
pub(crate) fn short(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(at, _)| text.get(..at).unwrap_or(text))
}

impl Operand {
    /// Reads a value. An object whose only member is `ref` is a reference; one with other members beside it is data.
    ///
    /// ```
    /// use dunlin_rules::condition::Operand;
    /// use serde_json::json;
    ///
    /// assert!(matches!(Operand::parse(&json!({"ref": "event.id"})), Ok(Operand::Reference(_))));
    /// assert!(matches!(Operand::parse(&json!({"ref": "INV-7", "sum": 5})), Ok(Operand::Constant(_))));
    /// assert!(matches!(Operand::parse(&json!({"to": ["${event.user}"]})), Ok(Operand::Object(_))));
    /// ```
    ///
    /// # Errors
    /// A sentence: what is wrong with the first reference that is no reference.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let mut faults = Vec::new();
        let operand = read_operand("", value, &mut faults);
        faults.into_iter().next().map_or(Ok(operand), |(_, message)| Err(message))
    }
}

/// Reads a value at a place in a rule. What is wrong is added with its place, and read as data.
pub(crate) fn read_operand(at: &str, value: &Value, faults: &mut Vec<(String, String)>) -> Operand {
    operand(at, value, faults).unwrap_or_else(|| constant(value))
}

/// The value with references; `None` if there are none, so that it can be kept as it is.
fn operand(at: &str, value: &Value, faults: &mut Vec<(String, String)>) -> Option<Operand> {
    let read = match value {
        Value::String(text) if text.contains("${") => Template::parse(text).map(Operand::Text),
        Value::Array(items) => {
            let read: Vec<_> = items
                .iter()
                .enumerate()
                .map(|(index, item)| operand(&format!("{at}[{index}]"), item, faults))
                .collect();
            let filled = |(read, item): (Option<Operand>, &Value)| read.unwrap_or_else(|| constant(item));
            let found = read.iter().any(Option::is_some);
            return found.then(|| Operand::Array(read.into_iter().zip(items).map(filled).collect()));
        }
        Value::Object(members) => match as_reference(value) {
            Some(Value::String(text)) => Reference::parse(text).map(Operand::Reference),
            Some(_) => Err("A \"ref\" must be a string".to_owned()),
            None => {
                let read: Vec<_> = members
                    .iter()
                    .map(|(name, value)| operand(&format!("{at}.{name}"), value, faults))
                    .collect();
                let found = read.iter().any(Option::is_some);
                let filled = |(read, (name, value)): (Option<Operand>, (&String, &Value))| {
                    (Arc::from(name.as_str()), read.unwrap_or_else(|| constant(value)))
                };
                return found.then(|| Operand::Object(read.into_iter().zip(members).map(filled).collect()));
            }
        },
        _ => return None,
    };
    read.map_err(|message| faults.push((at.to_owned(), message))).ok()
}

fn constant(value: &Value) -> Operand {
    Operand::Constant(Arc::new(value.clone()))
}

/// What is in `ref`, if that is the only member.
fn as_reference(value: &Value) -> Option<&Value> {
    value.as_object().filter(|members| members.len() == 1)?.get("ref")
}

/// Tells of every reference in a value.
pub(crate) fn references(operand: &Operand, tell: &mut dyn FnMut(&Reference)) {
    match operand {
        Operand::Constant(_) => {}
        Operand::Reference(reference) => told(reference, tell),
        Operand::Text(template) => references_of_text(template, tell),
        Operand::Array(items) => items.iter().for_each(|item| references(item, tell)),
        Operand::Object(members) => members.iter().for_each(|(_, value)| references(value, tell)),
    }
}

/// Tells of every reference in a text.
pub(crate) fn references_of_text(template: &Template, tell: &mut dyn FnMut(&Reference)) {
    for part in &template.parts {
        if let Part::Reference(reference) = part {
            told(reference, tell);
        }
    }
}

fn told(reference: &Reference, tell: &mut dyn FnMut(&Reference)) {
    tell(reference);
    if let Reference::Fact(key) = reference {
        references_of_text(key, tell);
    }
}
