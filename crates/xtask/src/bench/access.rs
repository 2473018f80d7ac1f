//! The configurations of servers that know their users, and how these log in.

use serde_json::{Value, json};

/// The token of whoever prepares a server.
const SETUP: &str = "token-setup";

/// A server for these users (a session by its token) with these permission rules, and nothing for anybody else. Whoever
/// prepares it may do everything.
pub(crate) fn server(users: impl Iterator<Item = (String, Value)>, rules: Vec<Value>, rows: &Value) -> Value {
    let mut tokens: serde_json::Map<String, Value> = users.collect();
    tokens.insert(SETUP.to_owned(), json!({"userId": "setup", "roles": ["admin"]}));
    let mut rules = rules;
    // The last one, so that it is in nobody's way.
    rules.push(json!({"role": "admin", "allow": ["*"]}));
    json!({"auth": {
        "tokens": tokens,
        "permissions": {"default": "deny", "rules": rules, "rows": rows},
    }})
}

/// What a user says first.
pub(crate) fn login(token: &str) -> Value {
    json!({"id": 1, "type": "auth.login", "token": token})
}

/// What whoever prepares the server says first.
pub(crate) fn setup() -> Value {
    login(SETUP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_prepares_it_has_a_token_and_the_last_rule() {
        let users = [("t".to_owned(), json!({"userId": "ada"}))].into_iter();
        let config = server(users, vec![json!({"role": "x", "allow": ["store.get"]})], &json!([]));
        let auth = &config["auth"];
        assert_eq!(auth["tokens"].as_object().unwrap().len(), 2);
        assert!(auth["tokens"][setup()["token"].as_str().unwrap()]["roles"][0] == "admin");
        assert_eq!(auth["permissions"]["rules"][1]["role"], "admin");
    }
}
