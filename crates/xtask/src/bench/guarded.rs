//! `guarded-get`: what rights and a rate limit add to a pipelined `store.get`.
//!
//! Two servers are asked for the same records. One knows nobody; on the other a user with ten roles is logged in, fifty
//! permission rules are about these roles and only the last is about the bucket, and a limit counts that is never reached.

use std::sync::Arc;

use serde_json::{Value, json};

use super::access;
use super::connection::{Connection, Kind, WHOLE};
use super::contest::{Contest, Storage};
use super::figures::{Figures, median, ratio};
use super::load::{self, ANYBODY, Shape, Visitor, Window};
use super::records::{self, BUCKET, Gets, PEOPLE, Requests};
use super::report::{Report, thousands};
use crate::failure::Outcome;

const RULES: usize = 50;
const ROLES: usize = 10;

/// More than any server serves in the window, milliseconds.
const MOST: u64 = 1_000_000_000;
const WINDOW_MS: u64 = 1_000;

const TOKEN: &str = "token-reader";

const AIM: &str = "≤ 1.20×";

#[derive(Default)]
pub(crate) struct Price {
    open: Vec<Figures>,
    guarded: Vec<Figures>,
}

impl Price {
    /// `title` names the request.
    pub(crate) fn put(&self, title: &str, report: &mut Report) {
        let shown = |runs: &[Figures]| {
            format!("{} µs", thousands(median(runs.iter().map(|run| run.cpu_us).collect())))
        };
        report.aimed(&format!("{title}, nobody logged in, server CPU"), shown(&self.open), "-");
        report.aimed(
            &format!("the same with {RULES} rules, {ROLES} roles, a rate limit"),
            shown(&self.guarded),
            "-",
        );
        let times = ratio(&self.guarded, &self.open, |run| run.cpu_us);
        report.aimed("what these multiply it by", format!("{times:.2}×"), AIM);
    }
}

fn role(number: usize) -> String {
    format!("role-{}", number % ROLES)
}

fn config() -> Value {
    let roles: Vec<_> = (0..ROLES).map(role).collect();
    let user = (TOKEN.to_owned(), json!({"userId": "reader", "roles": roles}));
    let allowed = (0..RULES).map(|number| {
        let bucket = if number + 1 == RULES { BUCKET.to_owned() } else { format!("{BUCKET}-{number}") };
        json!({"role": role(number), "allow": ["store.get", "store.where"], "buckets": [bucket]})
    });
    let mut config = access::server([user].into_iter(), allowed.collect(), &json!([]));
    config["rateLimit"] = json!({"maxRequests": MOST, "windowMs": WINDOW_MS});
    config
}

/// Runs without and with rights in turn, `rounds` times.
pub(crate) async fn run(contest: &Contest, shape: Shape, window: Window, rounds: usize) -> Outcome<Price> {
    let gets = Arc::new(Gets::prepare());
    let reader = Visitor { login: Some(access::login(TOKEN)), answer: Kind::Answer };
    let (setup, config) = (access::setup(), config());
    let mut price = Price::default();
    for _ in 0..rounds {
        for guarded in [false, true] {
            let (running, login, visitor) = if guarded {
                (contest.start_configured(Storage::Memory, &config).await?, Some(&setup), &reader)
            } else {
                (contest.start_dunlin(Storage::Memory, &[]).await?, None, &ANYBODY)
            };
            let address = running.address;
            let figures = async {
                let mut connection = Connection::logged_in(address, WHOLE, login).await?;
                connection.call(&records::define_bucket()).await?;
                records::load_as(login, address, PEOPLE).await?;
                let requests = |number| Ok(Requests::gets(&gets, number));
                load::measure_as(visitor, address, running.id, shape, window, requests).await
            };
            let figures = figures.await.map_err(|why| running.server.failure(&why.to_string()))?;
            running.stop().await?;
            if guarded { &mut price.guarded } else { &mut price.open }.push(figures);
        }
    }
    Ok(price)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_of_fifty_rules_lets_the_user_read() {
        let config = config();
        let allowed = config["auth"]["permissions"]["rules"].as_array().unwrap();
        let about = allowed.iter().position(|rule| rule["buckets"] == json!([BUCKET]));
        assert_eq!(about, Some(RULES - 1));
        let roles = config["auth"]["tokens"][TOKEN]["roles"].as_array().unwrap();
        assert!(allowed[..RULES].iter().all(|rule| roles.contains(&rule["role"])));
    }
}
