//! What the recorded dialogues use and dunlin has not got yet. A feature that arrives takes its rows
//! out of this table, and the cases that waited for it are replayed from then on.

use serde_json::Value;

/// How a case shows that it needs something.
pub(crate) enum Sign {
    /// The case's `server` object has this member (JSON pointer), not being `false`.
    Server(&'static str),
    /// A request is sent whose type begins like this.
    Requests(&'static str),
}

pub(crate) struct NotYet {
    pub(crate) feature: &'static str,
    pub(crate) sign: Sign,
}

const fn row(feature: &'static str, sign: Sign) -> NotYet {
    NotYet { feature, sign }
}

/// Directories of cases whose subject exists, at least in part.
pub(crate) const DIRECTORIES: &[&str] = &[
    "connection",
    "connection-registry",
    "heartbeat",
    "store-crud",
    "store-subscriptions",
    "store-transactions",
    "auth",
    "auth-permissions",
    "auth-revocation",
    "auth-tiers",
    "rate-limiting",
    "server-stats",
    "admin-store",
    "admin-queries",
    "edge-cases",
    "security-hardening",
    "rules-proxy",
    "admin-rules",
];

/// A case waits for the first row that applies.
pub(crate) const NOT_YET: &[NotYet] = &[
    row("built-in identity", Sign::Server("/auth/builtIn")),
    row("the audit log", Sign::Server("/audit")),
    row("built-in identity", Sign::Requests("identity.")),
    row("procedures", Sign::Requests("procedures.")),
    row("the audit log", Sign::Requests("audit.")),
];

/// Cases that need something which shows in none of their members: `directory/file` and the feature.
pub(crate) const SINGLE_CASES: &[(&str, &str)] = &[
    // Three clients send five inserts each, one client right after the other, and expect them stored in that very order. Here
    // connections are served side by side, and on a busy machine one may be read later than another that sent after it.
    (
        "edge-cases/10-handles-interleaved-requests-from-multiple-clients.json",
        "an order between connections, which nobody promises",
    ),
];

/// The feature that `case` (its file as `directory/file`) waits for, if any.
pub(crate) fn waits_for(name: &str, case: &Value) -> Option<&'static str> {
    let types = request_types(case);
    let applies = |row: &&NotYet| match row.sign {
        Sign::Server(pointer) => {
            case["server"].pointer(pointer).is_some_and(|value| !matches!(value, Value::Bool(false)))
        }
        Sign::Requests(prefix) => types.iter().any(|sent| sent.starts_with(prefix)),
    };
    let named = SINGLE_CASES.iter().find(|(file, _)| *file == name).map(|(_, feature)| *feature);
    named.or_else(|| NOT_YET.iter().find(applies).map(|row| row.feature))
}

/// The types of all requests the replayer will send, set-up included.
fn request_types(case: &Value) -> Vec<&str> {
    let mut types = Vec::new();
    for prepared in list(&case["setup"]) {
        types.extend(prepared["request"]["type"].as_str());
    }
    for step in list(&case["steps"]) {
        if step["do"] == "send" {
            types.extend(step["msg"]["type"].as_str());
        }
        types.extend(
            list(&step["requests"]).iter().filter_map(|prepared| prepared["request"]["type"].as_str()),
        );
    }
    types
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_case_waits_for_what_its_server_or_its_requests_need() {
        let accounts = json!({"server": {"auth": {"builtIn": true}}, "setup": [], "steps": []});
        assert_eq!(waits_for("connection/01-a.json", &accounts), Some("built-in identity"));
        let audit = json!({"server": {"audit": {}}, "setup": [], "steps": []});
        assert_eq!(waits_for("edge-cases/01-a.json", &audit), Some("the audit log"));
        let identity = json!({"server": {"rules": false}, "setup": [], "steps": [
            {"do": "send", "conn": "c1", "msg": {"id": 1, "type": "identity.whoami"}},
        ]});
        assert_eq!(waits_for("edge-cases/02-b.json", &identity), Some("built-in identity"));
        let administration = json!({"server": {}, "setup": [], "steps": [
            {"do": "admin", "requests": [{"request": {"type": "procedures.register"}}]},
        ]});
        assert_eq!(waits_for("edge-cases/03-c.json", &administration), Some("procedures"));
    }

    #[test]
    fn a_case_that_needs_nothing_new_is_replayed() {
        // An answer of that type is no request for it.
        let plain = json!({"server": {"rules": true, "heartbeat": {"intervalMs": 50}}, "setup": [
            {"request": {"type": "store.defineBucket"}},
        ], "steps": [
            {"do": "expect", "conn": "c1", "msg": {"type": "identity.anything"}},
            {"do": "send", "conn": "c1", "msg": {"id": 1, "type": "rules.stats"}},
            {"do": "send", "conn": "c1", "text": "{"},
        ]});
        assert_eq!(waits_for("connection/01-a.json", &plain), None);
    }
}
