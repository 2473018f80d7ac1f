//! How a filter was answered, told to whoever asks.

use serde::Serialize;

use super::{Access, Last, Lookup, choose};
use crate::{Bucket, Field, Filter};

/// How a bucket answers a filter.
///
/// ```
/// # use dunlin_store::{Context, Filter, IdSource, Intent, Snapshot};
/// # use serde_json::json;
/// # struct Ids;
/// # impl IdSource for Ids { fn next(&mut self) -> u128 { 0 } }
/// # let object = |value: serde_json::Value| value.as_object().cloned().unwrap_or_default();
/// # let mut state = Snapshot::new("epoch-1");
/// let config = object(json!({
///     "key": "id", "schema": {"id": {"type": "string"}, "city": {"type": "string"}}, "indexes": ["city"],
/// }));
/// # let intent = Intent::DefineBucket { name: "people".into(), config };
/// # state.execute(intent, &mut Context::new(1, &mut Ids))?;
/// let filter = Filter::parse(&object(json!({"city": "Brno", "age": {"$gt": 30}})))?;
/// let explain = state.bucket("people")?.explain(&filter);
/// assert_eq!(
///     serde_json::to_value(&explain)?,
///     json!({"plan": "index", "index": ["city"], "access": "equality", "rowsExamined": 0, "rowsReturned": 0})
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explain {
    /// Where the records were looked for.
    pub plan: Plan,
    /// The fields of the key or the indexes that were used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub index: Vec<String>,
    /// What was asked of them: `equality`, `in`, `range`; of an index of several fields `compound`, `compoundIn`,
    /// `compoundRange`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<&'static str>,
    /// Records that were tried with the filter.
    pub rows_examined: usize,
    /// Records that match.
    pub rows_returned: usize,
}

/// Where the records that match a filter are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Plan {
    /// Every record is tried.
    Scan,
    /// By primary key.
    Key,
    /// In an index.
    Index,
    /// In several ways, one for each branch of an `$or`.
    Union,
    /// Nowhere: nothing can match.
    Nothing,
}

impl Bucket {
    /// How [`Bucket::scan`] answers a filter, and how much work it is. Does that work.
    pub fn explain(&self, filter: &Filter) -> Explain {
        let matcher = filter.matcher(self.definition());
        let mut access = choose(self, &matcher);
        let mut candidates = access.candidates(self);
        let (mut rows_examined, mut rows_returned) = (0, 0);
        while let Some((_, record)) = candidates.next(self) {
            rows_examined += 1;
            rows_returned += usize::from(matcher.matches(record));
        }
        let mut index = Vec::new();
        access.fields(self, &mut index);
        Explain { plan: access.plan(), index, access: access.name(), rows_examined, rows_returned }
    }
}

impl Access<'_, '_> {
    fn plan(&self) -> Plan {
        match self {
            Self::Nothing => Plan::Nothing,
            Self::Key(_) | Self::Keys(_) => Plan::Key,
            Self::Index(_) => Plan::Index,
            Self::Union(_) => Plan::Union,
            Self::Scan => Plan::Scan,
        }
    }

    fn name(&self) -> Option<&'static str> {
        match self {
            Self::Key(_) => Some("equality"),
            Self::Keys(_) => Some("in"),
            Self::Index(Lookup { index, last, .. }) => Some(match (last, index.spec().slots.len()) {
                (Last::Equal(_), 1) => "equality",
                (Last::In(_), 1) => "in",
                (Last::Within(_), 1) => "range",
                (Last::Equal(_), _) => "compound",
                (Last::In(_), _) => "compoundIn",
                (Last::Within(_), _) => "compoundRange",
            }),
            Self::Nothing | Self::Union(_) | Self::Scan => None,
        }
    }

    /// Adds the names of the fields that it looks at, each once.
    fn fields(&self, bucket: &Bucket, names: &mut Vec<String>) {
        let mut add = |slot: usize| {
            let name = bucket.definition().fields().get(slot).map_or("", Field::name);
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        };
        match self {
            Self::Nothing | Self::Scan => {}
            Self::Key(_) | Self::Keys(_) => add(bucket.definition().key_slot()),
            Self::Index(lookup) => lookup.index.spec().slots.iter().copied().for_each(add),
            Self::Union(branches) => branches.iter().for_each(|access| access.fields(bucket, names)),
        }
    }
}
