//! Lists of networks, and the keys that say whom to limit and whom to believe.

use std::collections::BTreeMap;
use std::net::IpAddr;

use dunlin_protocol::Kind;
use ipnet::IpNet;
use serde::Serialize;
use serde_json::Value;

use super::Config;
use super::fault::FaultKind;
use super::kind::{Found, as_whole, mismatch};
use super::limits::{MAX_NETWORKS, WEIGHTS};
use super::nearest::nearest;

/// `rateLimit`: how many requests a user, or an address where nobody is logged in, may make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RateLimit {
    /// Requests that may pass in any window; `None` limits nothing.
    pub max_requests: Option<u32>,
    /// Length of the window, in milliseconds.
    pub window_ms: u64,
    /// A second window, for a moment.
    pub burst: Burst,
    /// What a request counts, by the name of its operation or the beginning of the name (`store.*`); others count 1.
    pub weights: BTreeMap<String, u32>,
    /// Networks whose connections are not limited.
    pub allow: Vec<IpNet>,
    /// Users and addresses that are counted for themselves.
    pub max_keys: usize,
}

/// `rateLimit.burst`: how many requests at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Burst {
    /// Requests that may pass in any such window; `None` is no such window.
    pub max_requests: Option<u32>,
    /// Its length, in milliseconds.
    pub window_ms: u64,
}

/// What a person should write for a list of networks.
pub(super) const NETWORKS: &str = "a list of addresses and networks such as \"10.0.0.0/8\"";

/// What a person should write for weights.
pub(super) const WEIGHTS_EXPECTED: &str = "an object from operation to weight such as {\"store.all\": 5}";

/// All that is wrong with a list of networks.
pub(super) fn check(value: &Value) -> Found {
    let Some(list) = value.as_array() else { return vec![mismatch("", NETWORKS, value)] };
    if list.len() > MAX_NETWORKS {
        let expected = format!("at most {MAX_NETWORKS} networks");
        return vec![(
            String::new(),
            FaultKind::Value { expected, found: format!("{} of them", list.len()) },
        )];
    }
    let wrong = list.iter().enumerate().filter(|(_, entry)| network(entry).is_none());
    wrong
        .map(|(i, entry)| {
            mismatch(format!("[{i}]"), "an address or a network such as \"10.0.0.0/8\" or \"::1\"", entry)
        })
        .collect()
}

/// The networks of a value without faults.
pub(super) fn read(value: &Value) -> Option<Vec<IpNet>> {
    value.as_array()?.iter().map(network).collect()
}

/// An address alone is a network of one. What is written behind the prefix is left out.
fn network(value: &Value) -> Option<IpNet> {
    let text = value.as_str()?;
    let alone = text.parse::<IpAddr>().ok().map(IpNet::from);
    alone.or_else(|| text.parse().ok()).map(|network| network.trunc())
}

/// All that is wrong with the weights: a name that fits no operation would weigh nothing.
pub(super) fn check_weights(value: &Value) -> Found {
    let Value::Object(table) = value else { return vec![mismatch("", WEIGHTS_EXPECTED, value)] };
    let mut found = Found::new();
    for (name, weight) in table {
        let at = format!(".{name}");
        if !Kind::ALL.iter().any(|kind| crate::limiter::fits(name, kind.as_str())) {
            let names = || Kind::ALL.iter().map(|kind| kind.as_str());
            let nearest = nearest(name, names()).map(|near| format!("rateLimit.weights.{near}"));
            let known = names().map(str::to_owned).collect();
            found.push((at, FaultKind::Unknown { what: "key", nearest, known }));
        } else if !as_whole(weight).is_some_and(|weight| WEIGHTS.contains(&weight)) {
            let expected = format!("a whole number from {} to {}", WEIGHTS.start(), WEIGHTS.end());
            found.push(mismatch(at, expected, weight));
        }
    }
    found
}

/// The weights of a value without faults.
pub(super) fn read_weights(value: &Value) -> Option<BTreeMap<String, u32>> {
    let weight = |(name, weight): (&String, &Value)| Some((name.clone(), as_whole(weight)?.try_into().ok()?));
    value.as_object()?.iter().map(weight).collect()
}

/// A key that means nothing because another one is missing: who has set it believes to be protected.
pub(super) fn useless(config: &Config) -> Option<(&'static str, FaultKind)> {
    let defaults = Config::default();
    let limit = &config.rate_limit;
    let anything = RateLimit { max_requests: None, ..limit.clone() } != defaults.rate_limit;
    if limit.max_requests.is_none() && anything {
        let expected = "a whole number, because other keys of rateLimit are set".to_owned();
        return Some(("rateLimit.maxRequests", FaultKind::Value { expected, found: "nothing".to_owned() }));
    }
    if config.proxy_protocol && config.trusted_proxies.is_empty() {
        let expected = "the addresses of the proxies, because proxyProtocol is true".to_owned();
        return Some(("trustedProxies", FaultKind::Value { expected, found: "none".to_owned() }));
    }
    None
}
