//! `scopes`: many users watch one query, of which each sees what his team has.
//!
//! Ten teams are ten results, however many users there are: so many live queries the server may hold, and an update in one
//! team is pushed to that team alone.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::access;
use super::connection::{Connection, TYPE_BYTES, WHOLE};
use super::contest::{Contest, Storage};
use super::limits::{self, DELIVERY_LIMIT, FEW_SCOPED, OPENING, SCOPED};
use super::records;
use super::report::{Report, count};
use super::{scrape, tasks};
use crate::failure::{Failure, Outcome};

const TEAMS: usize = 10;

/// Records of one team.
const EACH: usize = 10;

const BUCKET: &str = "notes";
const QUERY: &str = "board";

pub(crate) struct Scopes {
    subscribers: usize,
    views: f64,
    pushes: f64,
}

impl Scopes {
    pub(crate) fn put(&self, report: &mut Report) {
        let subscribers = count(self.subscribers);
        let title = format!("live queries of {subscribers} subscribers in {TEAMS} scopes");
        report.aimed(&title, self.views.to_string(), &TEAMS.to_string());
        let team = self.subscribers / TEAMS;
        report.aimed("pushes of an update that concerns one scope", self.pushes.to_string(), &count(team));
    }
}

fn token(team: usize) -> String {
    format!("token-{team}")
}

fn team(team: usize) -> String {
    format!("team-{team}")
}

fn config() -> Value {
    let users = (0..TEAMS).map(|number| {
        let metadata = json!({"team": team(number)});
        (
            token(number),
            json!({"userId": format!("user-{number}"), "roles": ["member"], "metadata": metadata}),
        )
    });
    let rules = vec![json!({"role": "member", "allow": ["store.subscribe"]})];
    let read = json!({"team": "{{ session.metadata.team }}"});
    access::server(users, rules, &json!([{"role": "member", "bucket": BUCKET, "read": read}]))
}

/// Counts the live queries, and the pushes of one update.
pub(crate) async fn run(contest: &Contest) -> Outcome<Scopes> {
    let subscribers = limits::connections_within(SCOPED, FEW_SCOPED)? / TEAMS * TEAMS;
    let running = contest.start_configured(Storage::Memory, &config()).await?;
    let scopes = measure(running.address, subscribers).await;
    let scopes = scopes.map_err(|why| running.server.failure(&why.to_string()))?;
    running.stop().await?;
    Ok(scopes)
}

async fn measure(address: SocketAddr, subscribers: usize) -> Outcome<Scopes> {
    let login = access::setup();
    let mut setup = Connection::logged_in(address, WHOLE, Some(&login)).await?;
    setup.call(&define_bucket()).await?;
    setup
        .call(&json!({"id": 2, "type": "store.defineQuery", "name": QUERY, "config": {"bucket": BUCKET}}))
        .await?;
    records::load_all_as(Some(&login), address, (0..TEAMS * EACH).map(|number| insert(number).to_string()))
        .await?;
    let logins: Arc<Vec<_>> = Arc::new((0..TEAMS).map(|number| access::login(&token(number))).collect());
    let open = tasks::all(subscribers, OPENING, |number| {
        let logins = Arc::clone(&logins);
        async move {
            let mut connection = Connection::lean(address, TYPE_BYTES).await?;
            connection.settle(&logins[number % TEAMS]).await?;
            connection.settle(&json!({"id": 2, "type": "store.subscribe", "query": QUERY})).await?;
            Ok(connection)
        }
    });
    let open = open.await?;
    let views = scrape::metric(address, "dunlin_live_views").await?;
    let due = subscribers / TEAMS;
    setup.call(&json!({"id": 3, "type": "store.update", "bucket": BUCKET, "key": key(0), "data": {"text": "new"}})).await?;
    #[allow(clippy::cast_precision_loss)] // far below 2^53
    let pushes = scrape::reaches(address, "dunlin_pushes_sent_total", due as f64, DELIVERY_LIMIT).await?;
    if open.len() != subscribers {
        return Err(Failure::new("some subscribers are missing"));
    }
    Ok(Scopes { subscribers, views, pushes })
}

fn define_bucket() -> Value {
    json!({"id": 1, "type": "store.defineBucket", "name": BUCKET, "config": {"key": "id", "schema": {
        "id": {"type": "string", "required": true},
        "team": {"type": "string", "required": true},
        "text": {"type": "string"},
    }, "indexes": ["team"]}})
}

fn key(number: usize) -> String {
    format!("n{number:06}")
}

fn insert(number: usize) -> Value {
    json!({"id": 1_000_000 + number, "type": "store.insert", "bucket": BUCKET, "data": {
        "id": key(number), "team": team(number % TEAMS), "text": "old",
    }})
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_team_has_a_token_and_records() {
        let config = config();
        let of = |number: usize| config["auth"]["tokens"][token(number)]["metadata"]["team"].clone();
        let teams: BTreeSet<_> = (0..TEAMS).map(|number| of(number).to_string()).collect();
        let owned: BTreeSet<_> =
            (0..TEAMS * EACH).map(|number| insert(number)["data"]["team"].to_string()).collect();
        assert_eq!((teams.len(), &teams), (TEAMS, &owned));
    }
}
