//! Reads actions whose effect is outside: calls of services and webhooks.

use std::sync::Arc;

use serde_json::Value;
use url::Url;

use super::Reader;
use super::fields::join;
use crate::Object;
use crate::action::{Action, Delivery};
use crate::condition::{Operand, Part, Path, Reference, Template};
use crate::limits::{CALL_TIMEOUT_MS, MAX_ATTEMPTS, MAX_CALL_TIMEOUT_MS, MAX_HEADERS};

/// Headers that the server writes itself.
const OWN_HEADERS: [&str; 6] =
    ["host", "content-length", "content-type", "connection", "transfer-encoding", "idempotency-key"];

impl Reader<'_> {
    pub(super) fn call_service(&mut self, at: &str, given: &Object) -> Option<Action> {
        const SUBJECT: &str = "call_service action";
        let [service, method] = ["service", "method"].map(|name| {
            let text = self.string(at, given, name, SUBJECT)?;
            self.short_text(&join(at, name), text)
        });
        let args = self.args(at, given.get("args"), SUBJECT);
        let delivery = self.delivery(at, given, SUBJECT);
        self.known(at, given, &["type", "service", "method", "args", "attempts", "timeout"]);
        Some(Action::CallService { service: service?, method: method?, args: args?, delivery: delivery? })
    }

    pub(super) fn webhook(&mut self, at: &str, given: &Object) -> Option<Action> {
        const SUBJECT: &str = "webhook action";
        let url = self.string(at, given, "url", SUBJECT).and_then(|url| self.url(&join(at, "url"), url));
        let headers = match given.get("headers") {
            None => Some(Vec::new()),
            Some(Value::Object(headers)) => self.headers(&join(at, "headers"), headers),
            Some(_) => self.none(join(at, "headers"), "type", format!("{SUBJECT} headers must be an object")),
        };
        let body = match given.get("body") {
            None => Operand::Reference(Reference::Trigger(Path::default())),
            Some(body) => self.operand(&join(at, "body"), body),
        };
        let delivery = self.delivery(at, given, SUBJECT);
        self.known(at, given, &["type", "url", "headers", "body", "attempts", "timeout"]);
        Some(Action::Webhook { url: url?, headers: headers?, body, delivery: delivery? })
    }

    /// Arguments of a service; none if they are left out.
    pub(super) fn args(&mut self, at: &str, given: Option<&Value>, subject: &str) -> Option<Vec<Operand>> {
        match given {
            None => Some(Vec::new()),
            Some(Value::Array(args)) => {
                let read = |(index, arg)| self.operand(&format!("{at}.args[{index}]"), arg);
                Some(args.iter().enumerate().map(read).collect())
            }
            Some(_) => self.none(join(at, "args"), "type", format!("{subject} args must be an array")),
        }
    }

    fn delivery(&mut self, at: &str, given: &Object, subject: &str) -> Option<Delivery> {
        let attempts = match given.get("attempts") {
            None => None,
            Some(_) => Some(self.count(at, given, "attempts", subject, MAX_ATTEMPTS.into())?),
        };
        let timeout_ms = match given.get("timeout") {
            None => CALL_TIMEOUT_MS,
            Some(timeout) => self.timer_span(at, timeout, "timeout", subject)?,
        };
        if timeout_ms > MAX_CALL_TIMEOUT_MS {
            let message = format!("{subject} timeout must be at most {MAX_CALL_TIMEOUT_MS} milliseconds");
            return self.none(join(at, "timeout"), "range", message);
        }
        let attempts = attempts.and_then(|attempts| u32::try_from(attempts).ok());
        Some(Delivery { attempts, timeout_ms })
    }

    /// Whether the address is allowed is the server's to say, each time.
    fn url(&mut self, at: &str, text: &str) -> Option<Template> {
        let template = self.template(at, text)?;
        // What begins with a reference is known only when it is resolved.
        if matches!(template.parts.first(), Some(Part::Reference(_))) {
            return Some(template);
        }
        let part = |part: &Part| match part {
            Part::Literal(text) => text.to_string(),
            Part::Reference(_) => "1".to_owned(),
        };
        let sample: String = template.parts.iter().map(part).collect();
        let fault = match Url::parse(&sample) {
            Err(error) => Some(format!("webhook action url is not valid: {error}")),
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                Some("webhook action url must begin with http:// or https://".to_owned())
            }
            Ok(_) => None,
        };
        match fault {
            Some(message) => self.none(at, "invalid_url", message),
            None => Some(template),
        }
    }

    fn headers(&mut self, at: &str, given: &Object) -> Option<Vec<(Arc<str>, Operand)>> {
        if given.len() > MAX_HEADERS {
            return self.none(at, "too_many", format!("webhook action has at most {MAX_HEADERS} headers"));
        }
        let mut headers = Vec::new();
        for (name, value) in given {
            let place = join(at, name);
            let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.is_empty() || !name.bytes().all(letter) {
                self.error(place, "invalid_name", format!("\"{name}\" is no name of a header"));
                continue;
            }
            if OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
                self.error(place, "reserved", format!("The server writes the header \"{name}\" itself"));
                continue;
            }
            let operand = self.operand(&place, value);
            let text = matches!(operand, Operand::Text(_) | Operand::Reference(_))
                || value.as_str().is_some_and(|text| !text.contains(char::is_control));
            if !text {
                self.error(
                    place,
                    "type",
                    "webhook action header must be a string without control characters",
                );
                continue;
            }
            headers.push((Arc::from(name.as_str()), operand));
        }
        Some(headers)
    }
}
