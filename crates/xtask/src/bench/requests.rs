//! `get-*` and `insert-*`: request and answer.

use std::sync::Arc;

use super::connection::{Connection, WHOLE};
use super::contest::{Canned, Contest, ROLES, Role};
use super::figures::{Figures, Pairs};
use super::limits::OneCore;
use super::load::{self, Window};
use super::records::{self, BUCKET, Gets, PEOPLE, Requests};
use super::scenario::{Loaded, Operation};
use crate::failure::Outcome;
use serde_json::json;

/// Runs both servers in turn, `rounds` times.
pub(crate) async fn run(
    contest: &Contest,
    loaded: Loaded,
    window: Window,
    rounds: usize,
) -> Outcome<Pairs<Figures>> {
    let gets = Arc::new(Gets::prepare());
    let mut pairs = Pairs::new();
    let mut canned = Canned::default();
    for _ in 0..rounds {
        for role in ROLES {
            let running = contest.start(role, loaded.storage, canned).await?;
            let address = running.address;
            let mut setup = Connection::open(address, WHOLE).await?;
            setup.call(&records::define_bucket()).await?;
            let probe = match loaded.operation {
                Operation::Get => {
                    records::load(address, PEOPLE).await?;
                    json!({"id": 1_000_000, "type": "store.get", "bucket": BUCKET, "key": records::key(0)})
                }
                Operation::Insert => probe_insert(),
            };
            let answer_bytes = setup.call(&probe).await?;
            if role == Role::Dunlin {
                canned.answer_bytes = Some(answer_bytes);
            }
            let pinned = if loaded.pinned { Some(OneCore::pin(running.id)?) } else { None };
            let figures = load::measure(address, running.id, loaded.shape, window, |number| {
                Ok(match loaded.operation {
                    Operation::Get => Requests::gets(&gets, number),
                    Operation::Insert => Requests::inserts(number)?,
                })
            })
            .await
            .map_err(|why| running.server.failure(&why.to_string()))?;
            drop(pinned);
            running.stop().await?;
            match role {
                Role::Dunlin => pairs.dunlin.push(figures),
                Role::Floor => pairs.floor.push(figures),
            }
        }
    }
    Ok(pairs)
}

/// An insert with a key that the load does not use, to learn how long the answer is.
fn probe_insert() -> serde_json::Value {
    json!({"id": 1_000_000, "type": "store.insert", "bucket": BUCKET, "data": {
        "id": "r9999999999", "name": "Person 00000", "email": "person.00000@example.org",
        "city": "Rotterdam", "age": 41, "active": true,
    }})
}
