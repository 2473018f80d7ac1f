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
