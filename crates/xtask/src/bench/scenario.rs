//! The scenarios, their names, and what the reference server showed in the same units.

use super::contest::Storage;
use super::fan_out::{Audience, Subject};
use super::load::Shape;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Operation {
    Get,
    Insert,
}

#[derive(Clone, Copy)]
pub(crate) struct Loaded {
    pub(crate) operation: Operation,
    pub(crate) storage: Storage,
    pub(crate) shape: Shape,
    /// Client and server on one core: with two, waking the other one is most of what is measured.
    pub(crate) pinned: bool,
}

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Loaded(Loaded),
    Keyed(Shape),
    Guarded(Shape),
    Refused(Shape),
    Scopes,
    LimiterMemory,
    FanOut(Audience),
    Slices,
    PatchBytes,
    Reconnect,
    Updates,
    Firings,
    IdleMemory,
    Start,
}

pub(crate) struct Scenario {
    /// What is typed to choose it; several scenarios may share a name.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) kind: Kind,
    /// The reference server's figure, measured by the same rules.
    pub(crate) reference: &'static str,
}

const ALONE: Shape = Shape { connections: 1, in_flight: 1 };
const PIPELINED: Shape = Shape { connections: 1, in_flight: 64 };
const MANY: Shape = Shape { connections: 50, in_flight: 16 };

/// No figure of the reference server is known.
const UNKNOWN: &str = "-";

const fn loaded(
    name: &'static str,
    title: &'static str,
    operation: Operation,
    storage: Storage,
    shape: Shape,
    reference: &'static str,
) -> Scenario {
    let pinned = shape.connections * shape.in_flight == 1;
    Scenario { name, title, kind: Kind::Loaded(Loaded { operation, storage, shape, pinned }), reference }
}

/// Dunlin alone, against an aim instead of the floor.
const fn live(name: &'static str, title: &'static str, kind: Kind) -> Scenario {
    Scenario { name, title, kind, reference: UNKNOWN }
}

use Operation::{Get, Insert};
use Storage::{Durable, Memory};

pub(crate) const SCENARIOS: &[Scenario] = &[
    loaded("get-alone", "get, alone, one core", Get, Memory, ALONE, "3.8×"),
    loaded("get-pipelined", "get, 64 pipelined", Get, Memory, PIPELINED, "13×"),
    loaded("get-50x16", "get, 50 × 16", Get, Memory, MANY, "22×"),
    loaded("insert-alone", "insert, memory, alone, one core", Insert, Memory, ALONE, UNKNOWN),
    loaded("insert-alone", "insert, durable, alone, one core", Insert, Durable, ALONE, UNKNOWN),
    loaded("insert-pipelined", "insert, memory, 64 pipelined", Insert, Memory, PIPELINED, UNKNOWN),
    loaded("insert-pipelined", "insert, durable, 64 pipelined", Insert, Durable, PIPELINED, UNKNOWN),
    loaded("insert-50x16", "insert, memory, 50 × 16", Insert, Memory, MANY, UNKNOWN),
    loaded("insert-50x16", "insert, durable, 50 × 16", Insert, Durable, MANY, UNKNOWN),
    live("keyed-50x16", "insert, durable, 50 × 16", Kind::Keyed(MANY)),
    Scenario {
        name: "fan-out",
        title: "push to 500 subscribers",
        kind: Kind::FanOut(Audience { subscribers: 500, subject: Subject::Board }),
        reference: "27×",
    },
    Scenario {
        name: "small-pushes",
        title: "push to 2,000 subscribers",
        kind: Kind::FanOut(Audience { subscribers: 2_000, subject: Subject::Counter }),
        reference: UNKNOWN,
    },
    live("slices", "updates with 100 and 4,000 slices watched", Kind::Slices),
    live("guarded-get", "get, 64 pipelined", Kind::Guarded(PIPELINED)),
    live("refused", "get, 64 pipelined", Kind::Refused(PIPELINED)),
    live("scopes", "one query of many users in ten scopes", Kind::Scopes),
    live("limiter-memory", "as many addresses as there are", Kind::LimiterMemory),
    live("patch-bytes", "bytes of a push", Kind::PatchBytes),
    live("reconnect", "all clients come back at once", Kind::Reconnect),
    live("firings", "a rule fires for each event", Kind::Firings),
    live("updates", "the same records updated again and again", Kind::Updates),
    Scenario {
        name: "idle-memory",
        title: "4,000 idle connections",
        kind: Kind::IdleMemory,
        reference: "17 KiB",
    },
    Scenario { name: "start", title: "start, empty, durable", kind: Kind::Start, reference: UNKNOWN },
];

/// Each name once, in order.
pub(crate) fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    names.dedup();
    names
}
