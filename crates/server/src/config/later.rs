//! Keys that people coming from noex-server know, or that a later dunlin will have. They are refused by name: a server
//! that ignores `audit` looks protected and is not. Delete a row when its feature arrives.

/// A key without a feature.
pub(super) struct Later {
    /// Full path; everything below it is covered, unless keys are.
    pub(super) key: &'static str,
    /// What it would switch on.
    pub(super) feature: &'static str,
    /// The dunlin key that does the job.
    pub(super) instead: Option<&'static str>,
    /// Whether `false` asks for just what this version does.
    pub(super) off: bool,
}

/// Every such key.
#[rustfmt::skip]
pub(super) const LATER: &[Later] = &[
    Later { key: "auth",           feature: "built-in identity yet",    instead: None, off: true },
    Later { key: "auth.builtIn",   feature: "built-in identity yet",    instead: None, off: true },
    Later { key: "auth.adminSecret", feature: "built-in identity yet",  instead: None, off: false },
    Later { key: "auth.sessionTtl", feature: "built-in identity yet",   instead: None, off: false },
    Later { key: "auth.loginRateLimit", feature: "built-in identity yet", instead: None, off: false },
    Later { key: "adminSecret",    feature: "built-in identity yet",    instead: None, off: false },
    Later { key: "audit",          feature: "audit log yet",            instead: None, off: true },
    Later { key: "procedures",     feature: "procedures yet",           instead: None, off: false },
    Later { key: "tls",            feature: "TLS yet",                  instead: None, off: true },
    Later { key: "persistence",    feature: "key of this name",         instead: Some("storage.kind"), off: false },
    Later { key: "dataDir",        feature: "key of this name",         instead: Some("storage.dir"), off: false },
    Later { key: "db",             feature: "key of this name",         instead: Some("storage.dir"), off: false },
];

/// The row of a full path.
pub(super) fn find(key: &str) -> Option<&'static Later> {
    LATER.iter().find(|later| later.key == key)
}
