//! What the server can beyond protocol 1.0.0, as `hello` tells.

use serde_json::{Value, json};

use super::connection::{Connection, WHOLE};
use super::contest::{Canned, Contest, Role, Running, Storage};
use crate::failure::{Failure, Outcome};

/// Names of extensions.
pub(crate) struct Extensions(Vec<String>);

impl Extensions {
    /// Starts a server just to ask it.
    pub(crate) async fn of(contest: &Contest) -> Outcome<Self> {
        let running = contest.start(Role::Dunlin, Storage::Memory, Canned::default()).await?;
        let extensions = ask(&running).await.map_err(|why| running.server.failure(&why.to_string()))?;
        running.stop().await?;
        Ok(extensions)
    }

    /// Those of the wanted ones that the server does not have, for the report.
    pub(crate) fn missing(&self, wanted: &[&str]) -> Option<String> {
        let missing: Vec<_> =
            wanted.iter().filter(|name| !self.0.iter().any(|has| has == *name)).copied().collect();
        (!missing.is_empty()).then(|| format!("skipped: the server has no `{}`", missing.join("`, `")))
    }
}

async fn ask(running: &Running) -> Outcome<Extensions> {
    let mut connection = Connection::open(running.address, WHOLE).await?;
    let hello = json!({"id": 1, "type": "hello", "client": "dunlin-bench", "extensions": ["position"]});
    read(&connection.ask(&hello).await?.0)
}

/// A server that does not know `hello` speaks plain 1.0.0.
fn read(answer: &Value) -> Outcome<Extensions> {
    if answer["type"] != "result" && answer["code"] != "UNKNOWN_OPERATION" {
        return Err(Failure::new(format!("hello was answered with {answer}")));
    }
    let names = answer["data"]["extensions"].as_array().into_iter().flatten();
    Ok(Extensions(names.filter_map(Value::as_str).map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_what_hello_lists() {
        let answer = json!({"id": 1, "type": "result", "data": {"extensions": ["hello", "patch"]}});
        let extensions = read(&answer).unwrap();
        assert_eq!(extensions.missing(&["patch"]), None);
        let missing = extensions.missing(&["resume", "patch", "position"]).unwrap();
        assert_eq!(missing, "skipped: the server has no `resume`, `position`");
    }

    #[test]
    fn a_server_without_hello_has_none_and_other_errors_are_failures() {
        let plain = read(&json!({"id": 1, "type": "error", "code": "UNKNOWN_OPERATION"})).unwrap();
        assert!(plain.missing(&["patch"]).is_some());
        assert!(
            read(&json!({"id": 1, "type": "result", "data": "xxx"})).unwrap().missing(&["patch"]).is_some()
        );
        assert!(read(&json!({"id": 1, "type": "error", "code": "UNAUTHORIZED"})).is_err());
    }
}
