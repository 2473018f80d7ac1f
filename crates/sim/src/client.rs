//! A client: what it asks, how it reads, how it leaves and comes back.

use std::collections::{BTreeMap, VecDeque};

use dunlin_server::Server;
use serde_json::{Value, json};

use crate::chance::Chance;
use crate::hearing::{self, Hearing, PATTERNS};
use crate::random;
use crate::subscription::{Last, Subscription};
use crate::truth::{Truth, Wish};
use crate::wire::{Frame, Pipe};
use crate::{Tally, note};

/// Milliseconds that a client may take nothing.
pub(crate) const SLOW_CONSUMER_MS: u64 = 400;
/// Milliseconds between two pings, and for the answer to one.
pub(crate) const HEARTBEAT_MS: (u64, u64) = (2_000, 1_500);

/// What was asked.
#[derive(Debug)]
pub(crate) enum Asked {
    Hello,
    /// A write; `certain`: if it is not refused it has changed something.
    Write {
        certain: bool,
    },
    /// A subscription; `last` is what is known of it, of no epoch if nothing is. `at` was the newest position.
    Subscribe {
        last: Box<Last>,
        at: u64,
    },
    Unsubscribe(String),
    /// Events; so many of them had happened.
    Hear {
        pattern: &'static str,
        at: usize,
    },
    HearNoMore(String),
    /// All facts; `at` was the newest position.
    Facts {
        at: u64,
    },
    Other,
}

/// A request that is under way.
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) asked: Asked,
    /// The tick, and how often the journal had failed.
    pub(crate) tick: u64,
    pub(crate) faults: u64,
}

/// A connection, as its client sees it.
pub(crate) struct Link {
    pub(crate) name: usize,
    pub(crate) pipe: Pipe,
    pub(crate) truth: Truth,
    /// What the server holds of the past: from a position on, and so many commits.
    pub(crate) held_from: u64,
    pub(crate) held_commits: u64,
    pub(crate) positions: bool,
    /// It always reads, and nothing is in its way: whatever it asks is answered at once.
    pub(crate) prompt: bool,
    pub(crate) requests: VecDeque<Request>,
    pub(crate) subscriptions: BTreeMap<String, Subscription>,
    pub(crate) hearings: BTreeMap<String, Hearing>,
    pub(crate) newest_push: u64,
    /// Its server stops.
    pub(crate) doomed: bool,
    last_id: u64,
    /// When it looked last whether there is something to read, and the longest time that it did not.
    looked_at: u64,
    longest_pause: u64,
}

/// What a client is told about the world it is in.
pub(crate) struct Moment<'a> {
    pub(crate) tick: u64,
    /// Virtual milliseconds.
    pub(crate) now: u64,
    /// None while it is being replaced.
    pub(crate) server: Option<&'a Server>,
    pub(crate) truth: &'a Truth,
    pub(crate) held_from: u64,
    pub(crate) held_commits: u64,
    /// Everybody reads and comes back, nobody asks for anything new.
    pub(crate) calm: bool,
    pub(crate) wishes: &'a [Wish],
}

pub(crate) struct Client {
    name: usize,
    positions: bool,
    prompt: bool,
    /// Bytes that its pipe holds, and that it reads in a tick.
    pipe_bytes: usize,
    bandwidth: usize,
    /// It reads nothing before this tick.
    reads_from: u64,
    pub(crate) link: Option<Link>,
    /// What it watched when its last connection ended.
    lost: Vec<Last>,
    /// How many names it has given to events.
    told: u64,
}

impl Client {
    /// The first one is prompt, the others are as chance has them.
    pub(crate) fn new(name: usize, chance: &mut Chance) -> Self {
        let prompt = name == 0;
        let pipe_bytes = if prompt { 1 << 20 } else { 1 << chance.within(7, 13) };
        let bandwidth = if prompt { usize::MAX } else { pipe_bytes.min(1 << chance.within(6, 13)) };
        let positions = chance.once_in(2);
        Self {
            name,
            positions,
            prompt,
            pipe_bytes,
            bandwidth,
            reads_from: 0,
            link: None,
            lost: Vec::new(),
            told: 0,
        }
    }

    /// One tick of its life. Whether anything came.
    pub(crate) fn live(&mut self, moment: &Moment<'_>, chance: &mut Chance, tally: &mut Tally) -> bool {
        if self.link.is_none() && (self.prompt || moment.calm || chance.once_in(25)) {
            self.connect(moment, chance);
        }
        if !moment.calm && self.link.is_some() {
            self.act(moment, chance, tally);
        }
        if moment.calm {
            self.reads_from = 0;
        }
        let Some(link) = &mut self.link else { return false };
        link.pipe.write();
        if moment.tick < self.reads_from {
            return false;
        }
        let bandwidth = if moment.calm { usize::MAX } else { self.bandwidth };
        let came = link.read(bandwidth, moment, tally);
        if link.pipe.ended {
            self.leave();
        }
        came
    }

    /// Nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.requests.is_empty())
    }

    pub(crate) fn is_quiet(&self) {
        for subscription in self.link.iter().flat_map(|link| link.subscriptions.values()) {
            subscription.is_quiet(&subscription_truth(self.link.as_ref()));
        }
        for hearing in self.link.iter().flat_map(|link| link.hearings.values()) {
            hearing.is_quiet(&subscription_truth(self.link.as_ref()));
        }
    }

    fn connect(&mut self, moment: &Moment<'_>, chance: &mut Chance) {
        let Some(server) = moment.server else { return };
        note(|| format!("{:>6} {} connects", moment.tick, self.name));
        let (ours, theirs) = tokio::io::duplex(self.pipe_bytes);
        server.serve_stream(theirs, [127, 0, 0, 1].into());
        let mut link = Link {
            name: self.name,
            pipe: Pipe::new(ours),
            truth: moment.truth.clone(),
            held_from: moment.held_from,
            held_commits: moment.held_commits,
            positions: self.positions,
            prompt: self.prompt,
            requests: VecDeque::new(),
            subscriptions: BTreeMap::new(),
            hearings: BTreeMap::new(),
            newest_push: 0,
            doomed: false,
            last_id: 0,
            looked_at: moment.now,
            longest_pause: 0,
        };
        if self.positions {
            link.ask(json!({"type": "hello", "extensions": ["position"]}), Asked::Hello, moment.tick);
        }
        for mut last in std::mem::take(&mut self.lost) {
            match chance.below(8) {
                0 => continue,
                1 => last.epoch.clear(),
                _ => {}
            }
            link.subscribe(last, moment.tick);
        }
        self.reads_from = 0;
        self.link = Some(link);
    }

    /// The connection is over: what it watched is what it may come back for.
    fn leave(&mut self) {
        let Some(link) = self.link.take() else { return };
        let asked = link.requests.into_iter().filter_map(|request| match request.asked {
            Asked::Subscribe { last, .. } if !last.epoch.is_empty() => Some(*last),
            _ => None,
        });
        self.lost =
            link.subscriptions.into_values().map(|subscription| subscription.last).chain(asked).collect();
    }

    fn act(&mut self, moment: &Moment<'_>, chance: &mut Chance, tally: &mut Tally) {
        let Some(link) = &mut self.link else { return };
        let tick = moment.tick;
        // A client that does not read has its requests wait: they are few enough to see each state.
        if link.requests.len() > 8 {
            return;
        }
        let write = |link: &mut Link, request: Value| {
            let certain = request["type"] == "store.insert";
            link.ask(request, Asked::Write { certain }, tick);
        };
        match chance.below(100) {
            0..12 => write(link, random::write(chance)),
            12..18 if self.prompt => {
                for _ in 0..chance.within(1, 8) {
                    write(link, random::write(chance));
                }
            }
            18..21 if self.prompt => random::administer(chance).into_iter().for_each(|it| write(link, it)),
            21 | 22 => {
                // What is answered behind a write, by another actor, takes no push past the write's result.
                write(link, random::write(chance));
                link.ask(json!({"type": "store.listQueries"}), Asked::Other, tick);
            }
            29..45 if !self.prompt && link.subscriptions.len() < 6 => {
                let (wish, patches) = (chance.pick(moment.wishes).clone(), chance.once_in(2));
                let epoch = String::new();
                link.subscribe(Last { wish, patches, belief: Value::Null, epoch, position: 0 }, tick);
            }
            24 if !link.subscriptions.is_empty() => {
                let ids: Vec<String> = link.subscriptions.keys().cloned().collect();
                let id = chance.pick(&ids).clone();
                let asked = |request: &Request| matches!(&request.asked, Asked::Unsubscribe(it) if *it == id);
                if !link.requests.iter().any(asked) {
                    let request = json!({"type": "store.unsubscribe", "subscriptionId": id});
                    link.ask(request, Asked::Unsubscribe(id), tick);
                }
            }
            25 => link.ask(
                json!({"type": "store.all", "bucket": *chance.pick(&random::BUCKETS)}),
                Asked::Other,
                tick,
            ),
            45..50 => {
                self.told += 1;
                let name = format!("{}-{}", self.name, self.told);
                link.ask(random::rule_request(chance, &name), Asked::Other, tick);
            }
            50..52 if link.hearings.len() < 3 => {
                let pattern = *chance.pick(&PATTERNS);
                let asked = Asked::Hear { pattern, at: hearing::count(pattern, &link.truth) };
                link.ask(json!({"type": "rules.subscribe", "pattern": pattern}), asked, tick);
            }
            52 if !link.hearings.is_empty() => {
                let ids: Vec<String> = link.hearings.keys().cloned().collect();
                let id = chance.pick(&ids).clone();
                let asked = |request: &Request| matches!(&request.asked, Asked::HearNoMore(it) if *it == id);
                if !link.requests.iter().any(asked) {
                    let request = json!({"type": "rules.unsubscribe", "subscriptionId": id});
                    link.ask(request, Asked::HearNoMore(id), tick);
                }
            }
            53 => {
                let at = link.truth.position();
                link.ask(json!({"type": "rules.getAllFacts"}), Asked::Facts { at }, tick);
            }
            26..28 if !self.prompt && self.reads_from <= tick => {
                let long = if chance.once_in(6) { 900 } else { 150 };
                self.reads_from = tick + chance.within(5, long) as u64;
                note(|| format!("{tick:>6} {} reads nothing before {}", self.name, self.reads_from));
            }
            28 if !self.prompt && chance.once_in(2) => {
                note(|| format!("{tick:>6} {} is cut off", self.name));
                tally.cuts += 1;
                let request = random::write(chance).to_string();
                link.pipe.send_part(&request, chance.within(1, 100));
                link.pipe.write();
                self.leave();
            }
            _ => {}
        }
    }
}

fn subscription_truth(link: Option<&Link>) -> Truth {
    link.expect("it has a connection").truth.clone()
}

impl Link {
    fn ask(&mut self, mut request: Value, asked: Asked, tick: u64) {
        self.last_id += 1;
        request["id"] = json!(self.last_id);
        let text = request.to_string();
        note(|| format!("{tick:>6} {} > {text:.300}", self.name));
        self.pipe.send(&text);
        self.requests.push_back(Request { id: self.last_id, asked, tick, faults: self.truth.faults() });
    }

    /// Subscribes; resumes if the last state is of some epoch.
    fn subscribe(&mut self, last: Last, tick: u64) {
        let mut request =
            json!({"type": "store.subscribe", "query": last.wish.query, "params": last.wish.params});
        if last.patches {
            request["mode"] = json!("patch");
        }
        if !last.epoch.is_empty() {
            request["resume"] = json!({"epoch": last.epoch, "position": last.position});
        }
        let at = self.truth.position();
        self.ask(request, Asked::Subscribe { last: Box::new(last), at }, tick);
    }

    fn read(&mut self, bandwidth: usize, moment: &Moment<'_>, tally: &mut Tally) -> bool {
        self.longest_pause = self.longest_pause.max(moment.now - self.looked_at);
        self.looked_at = moment.now;
        let taken = self.pipe.read(bandwidth);
        let mut goodbye = false;
        while let Some(frame) = self.pipe.next() {
            assert!(!goodbye, "nothing follows a close frame");
            match frame {
                Frame::Text(text) => self.take(&text, moment.tick, tally),
                Frame::Close(code) => {
                    goodbye = true;
                    self.closed(code, tally);
                }
            }
        }
        if self.pipe.ended && !goodbye {
            let slow = self.longest_pause >= SLOW_CONSUMER_MS;
            tally.slow_consumers += u64::from(slow && !self.doomed);
            assert!(slow || self.doomed, "{} was dropped without a word", self.name);
        }
        self.pipe.ended |= goodbye;
        taken > 0
    }

    fn closed(&self, code: u16, tally: &mut Tally) {
        note(|| {
            format!("       {} was closed with {code} after a pause of {}", self.name, self.longest_pause)
        });
        let right = match code {
            1000 | 1001 => self.doomed,
            4001 => self.longest_pause >= HEARTBEAT_MS.1,
            4006 => {
                tally.slow_consumers += 1;
                self.longest_pause >= SLOW_CONSUMER_MS
            }
            _ => false,
        };
        assert!(right, "{} was closed with {code} after a pause of {} ms", self.name, self.longest_pause);
    }
}
