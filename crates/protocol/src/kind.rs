//! What an operation is: its name on the wire and its tier.

use crate::Tier;

/// Declares each operation once: its variant, its name on the wire and its tier.
macro_rules! kinds {
    ($($kind:ident $name:literal $tier:expr;)+) => {
        /// What an operation is, without its fields: what rights are granted for and what metrics count by.
        ///
        /// ```
        /// use dunlin_protocol::{Kind, Tier};
        /// assert_eq!(Kind::named("store.insert"), Some(Kind::Insert));
        /// assert_eq!((Kind::Insert.as_str(), Kind::Insert.tier()), ("store.insert", Some(Tier::Write)));
        /// assert_eq!(Kind::named("store.fly"), None);
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "variants carry the names of the protocol's operations")]
        pub enum Kind { $($kind,)+ }

        impl Kind {
            /// Every kind. Its place here is its [`index`](Self::index).
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// Its name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// The kind of this name.
            pub fn named(name: &str) -> Option<Self> {
                Some(match name { $($name => Self::$kind,)+ _ => return None })
            }

            /// How much it can do; `None` of what concerns only the connection itself.
            pub const fn tier(self) -> Option<Tier> {
                match self { $(Self::$kind => $tier,)+ }
            }
        }
    };
}

const READ: Option<Tier> = Some(Tier::Read);
const WRITE: Option<Tier> = Some(Tier::Write);
const ADMIN: Option<Tier> = Some(Tier::Admin);
const NONE: Option<Tier> = None;

kinds! {
    Get "store.get" READ;
    All "store.all" READ;
    Where "store.where" READ;
    FindOne "store.findOne" READ;
    Count "store.count" READ;
    First "store.first" READ;
    Last "store.last" READ;
    Paginate "store.paginate" READ;
    Sum "store.sum" READ;
    Avg "store.avg" READ;
    Min "store.min" READ;
    Max "store.max" READ;
    GroupBy "store.groupBy" READ;
    Explain "store.explain" READ;
    Subscribe "store.subscribe" READ;
    Unsubscribe "store.unsubscribe" READ;
    Buckets "store.buckets" READ;
    StoreStats "store.stats" READ;
    Insert "store.insert" WRITE;
    InsertMany "store.insertMany" WRITE;
    Update "store.update" WRITE;
    UpdateMany "store.updateMany" WRITE;
    Upsert "store.upsert" WRITE;
    Delete "store.delete" WRITE;
    DeleteMany "store.deleteMany" WRITE;
    Clear "store.clear" WRITE;
    Transaction "store.transaction" WRITE;
    DefineBucket "store.defineBucket" ADMIN;
    DropBucket "store.dropBucket" ADMIN;
    UpdateBucket "store.updateBucket" ADMIN;
    GetBucketSchema "store.getBucketSchema" ADMIN;
    DefineQuery "store.defineQuery" ADMIN;
    UndefineQuery "store.undefineQuery" ADMIN;
    ListQueries "store.listQueries" ADMIN;
    RulesGetFact "rules.getFact" READ;
    RulesQueryFacts "rules.queryFacts" READ;
    RulesGetAllFacts "rules.getAllFacts" READ;
    RulesSubscribe "rules.subscribe" READ;
    RulesUnsubscribe "rules.unsubscribe" READ;
    RulesStats "rules.stats" READ;
    RulesEmit "rules.emit" WRITE;
    RulesSetFact "rules.setFact" WRITE;
    RulesDeleteFact "rules.deleteFact" WRITE;
    RulesRegisterRule "rules.registerRule" ADMIN;
    RulesUnregisterRule "rules.unregisterRule" ADMIN;
    RulesUpdateRule "rules.updateRule" ADMIN;
    RulesEnableRule "rules.enableRule" ADMIN;
    RulesDisableRule "rules.disableRule" ADMIN;
    RulesGetRule "rules.getRule" ADMIN;
    RulesGetRules "rules.getRules" ADMIN;
    RulesValidateRule "rules.validateRule" ADMIN;
    RulesHistory "rules.history" ADMIN;
    RulesDiff "rules.diff" ADMIN;
    RulesRollback "rules.rollback" ADMIN;
    RulesGroups "rules.groups" ADMIN;
    RulesCreateGroup "rules.createGroup" ADMIN;
    RulesUpdateGroup "rules.updateGroup" ADMIN;
    RulesDeleteGroup "rules.deleteGroup" ADMIN;
    RulesTimers "rules.timers" ADMIN;
    RulesSetTimer "rules.setTimer" ADMIN;
    RulesCancelTimer "rules.cancelTimer" ADMIN;
    RulesExplain "rules.explain" ADMIN;
    RulesTest "rules.test" ADMIN;
    RulesDeadLetters "rules.deadLetters" ADMIN;
    RulesRequeue "rules.requeue" ADMIN;
    RulesDiscard "rules.discard" ADMIN;
    ServerStats "server.stats" ADMIN;
    ServerConnections "server.connections" ADMIN;
    Backup "server.backup" ADMIN;
    RevokeSessions "server.revokeSessions" ADMIN;
    Hello "hello" NONE;
    Login "auth.login" NONE;
    Logout "auth.logout" NONE;
    WhoAmI "auth.whoami" NONE;
}

impl Kind {
    /// Its place among [`ALL`](Self::ALL): for tables by kind.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether it is about rules, facts or their events.
    ///
    /// ```
    /// use dunlin_protocol::Kind;
    /// assert!(Kind::RulesEmit.is_of_rules() && !Kind::Insert.is_of_rules());
    /// ```
    pub fn is_of_rules(self) -> bool {
        (Self::RulesGetFact..=Self::RulesDiscard).contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places_lead_back_to_their_kind() {
        for (place, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!((Kind::named(kind.as_str()), kind.index()), (Some(*kind), place));
            assert_eq!(kind.is_of_rules(), kind.as_str().starts_with("rules."));
        }
    }
}
