//! Operation tiers and the built-in roles that reach them (§8.3).

/// How much an operation can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Looks at data.
    Read,
    /// Changes data.
    Write,
    /// Changes definitions, or looks at the server.
    Admin,
}

impl Tier {
    /// The tier as messages name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    /// The tier of the operation called `kind`; `None` for `auth.*` and for unknown names.
    ///
    /// ```
    /// use dunlin_protocol::Tier;
    /// assert_eq!(Tier::of("store.insert"), Some(Tier::Write));
    /// assert_eq!(Tier::of("auth.login"), None);
    /// ```
    pub fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "store.get" | "store.all" | "store.where" | "store.findOne" | "store.count" | "store.first"
            | "store.last" | "store.paginate" | "store.sum" | "store.avg" | "store.min" | "store.max"
            | "store.groupBy" | "store.explain" | "store.subscribe" | "store.unsubscribe"
            | "store.buckets" | "store.stats" => Self::Read,
            "store.insert" | "store.insertMany" | "store.update" | "store.updateMany" | "store.upsert"
            | "store.delete" | "store.deleteMany" | "store.clear" | "store.transaction" => Self::Write,
            "store.defineBucket"
            | "store.dropBucket"
            | "store.updateBucket"
            | "store.getBucketSchema"
            | "store.defineQuery"
            | "store.undefineQuery"
            | "store.listQueries"
            | "server.stats"
            | "server.connections"
            | "server.backup" => Self::Admin,
            _ => return None,
        })
    }

    /// The highest tier that any of `roles` reaches. Roles that are none of `reader`, `writer` and `admin` reach nothing.
    ///
    /// ```
    /// use dunlin_protocol::Tier;
    /// assert_eq!(Tier::reached(["auditor", "writer"]), Some(Tier::Write));
    /// assert_eq!(Tier::reached(["auditor"]), None);
    /// ```
    pub fn reached<'a>(roles: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        roles
            .into_iter()
            .filter_map(|role| match role {
                "reader" => Some(Self::Read),
                "writer" => Some(Self::Write),
                "admin" => Some(Self::Admin),
                _ => None,
            })
            .max()
    }
}
