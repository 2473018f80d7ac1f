//! What reads and queries come to on the filtered, stripped tables, from scratch.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use crate::filter;
use crate::model::CODE;
use crate::rights::Rule;
use crate::tables::{Answer, Bucket, Refused, Row, Rules, Tables, refuse};

/// A bucket as somebody sees it.
struct Seen<'t> {
    bucket: &'t Bucket,
    rule: std::rc::Rc<Rule>,
    rows: Vec<&'t Row>,
}

impl<'t> Seen<'t> {
    fn new(tables: &'t Tables, rules: &Rules<'_>, name: &str) -> Result<Self, Refused> {
        let (bucket, rule) = (tables.bucket(name)?, rules(name));
        let rows = bucket.rows.iter().filter(|row| rule.sees(&row.record)).collect();
        Ok(Self { bucket, rule, rows })
    }

    fn open_to<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<(), Refused> {
        if names.into_iter().any(|name| self.rule.hides(name)) { refuse("FORBIDDEN") } else { Ok(()) }
    }

    fn matching(&self, filter: &Value) -> Result<Vec<&'t Row>, Refused> {
        self.open_to(filter::names(filter))?;
        let mut rows = self.rows.clone();
        if filter.is_object() {
            rows.retain(|row| filter::matches(filter, &row.record));
        }
        Ok(rows)
    }

    fn shown(&self, row: &Row) -> Value {
        self.rule.stripped(&row.record)
    }

    fn list(&self, rows: &[&Row]) -> Value {
        rows.iter().map(|row| self.shown(row)).collect()
    }

    /// In the order of `first`, `last` and pages.
    fn in_order(&self) -> Result<Vec<&'t Row>, Refused> {
        let mut rows = self.rows.clone();
        if self.bucket.sorted {
            self.open_to(["id"])?;
            rows.sort_by(|one, other| one.key().cmp(other.key()));
        }
        Ok(rows)
    }
}

/// How two records stand by members to directions: `null` and absent come last in both.
fn compare(one: &Value, other: &Value, by: &Value) -> Ordering {
    let mut compared = by.as_object().into_iter().flatten().map(|(name, direction)| {
        let value = |record| filter::member(record, name).filter(|value: &&Value| !value.is_null());
        match (value(one), value(other)) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(one), Some(other)) => {
                let order = filter::order(one, other).expect("members of these worlds have one type");
                if direction == "desc" { order.reverse() } else { order }
            }
        }
    });
    compared.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Rows that are equal stay in table order.
fn sort(rows: &mut [&Row], by: &Value) {
    rows.sort_by(|one, other| compare(&one.record, &other.record, by));
}

/// What a read of a bucket comes to. `kind` is its name without `store.`.
pub(crate) fn read(tables: &Tables, rules: &Rules<'_>, kind: &str, request: &Value) -> Answer {
    let seen = Seen::new(tables, rules, request["bucket"].as_str().unwrap())?;
    let limit = |name: &str| usize::try_from(request[name].as_u64().unwrap()).unwrap();
    let filter = &request["filter"];
    Ok(match kind {
        "get" => {
            seen.open_to(["id"])?;
            let row = seen.rows.iter().find(|row| row.record["id"] == request["key"]);
            row.map_or(Value::Null, |row| seen.shown(row))
        }
        "all" => seen.list(&seen.rows),
        "where" => seen.list(&seen.matching(filter)?),
        "findOne" => seen.matching(filter)?.first().map_or(Value::Null, |row| seen.shown(row)),
        "count" => json!(seen.matching(filter)?.len()),
        "first" => {
            let rows = seen.in_order()?;
            seen.list(&rows[..limit("n").min(rows.len())])
        }
        "last" => {
            let rows = seen.in_order()?;
            seen.list(&rows[rows.len().saturating_sub(limit("n"))..])
        }
        "paginate" => page(&seen, request, limit("limit"))?,
        "sum" | "avg" | "min" | "max" => {
            let field = request["field"].as_str().unwrap();
            seen.open_to([field])?;
            fold(&seen.matching(filter)?, kind, field)
        }
        "groupBy" => {
            let by = names(&request["field"]);
            let aggregate = &request["aggregate"];
            let field = aggregate["field"].as_str();
            seen.open_to(by.iter().copied().chain(field))?;
            groups(&seen.matching(filter)?, &by, aggregate)
        }
        other => panic!("{other} is no read"),
    })
}

fn names(value: &Value) -> Vec<&str> {
    match value {
        Value::String(one) => vec![one],
        many => many.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect(),
    }
}

/// A page of either kind. The text of a cursor is the server's; the place that it stands for is put beside the request by
/// who sends it.
fn page(seen: &Seen<'_>, request: &Value, limit: usize) -> Answer {
    let by_cursor = ["cursor", "filter", "sort"].iter().any(|name| request.get(name).is_some());
    let mut rows = if by_cursor {
        seen.open_to(request["sort"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()))?;
        let mut rows = seen.matching(&request["filter"])?;
        if let Some(place) = request.get("place") {
            rows.retain(|row| {
                let order = compare(&row.record, &place["record"], &request["sort"]);
                order.then(row.place.cmp(&place["place"].as_u64().unwrap())).is_gt()
            });
        }
        sort(&mut rows, &request["sort"]);
        rows
    } else {
        seen.open_to(["id"])?;
        let rows = seen.in_order()?;
        match &request["after"] {
            Value::Null => rows,
            after if seen.bucket.sorted => {
                rows.into_iter().filter(|row| row.key() > after.as_str().unwrap()).collect()
            }
            after => match rows.iter().position(|row| row.record["id"] == *after) {
                Some(at) => rows[at + 1..].to_vec(),
                None => return refuse("VALIDATION_ERROR"),
            },
        }
    };
    let more = rows.len() > limit;
    rows.truncate(limit);
    let mut answer = json!({"records": seen.list(&rows), "hasMore": more});
    if let Some(last) = rows.last() {
        if by_cursor {
            // What the cursor stands for; its text is not known here.
            answer["cursor"] = json!({"place": last.place, "record": *last.record});
        } else {
            answer["nextCursor"] = last.record["id"].clone();
        }
    }
    Ok(answer)
}

fn fold(rows: &[&Row], function: &str, field: &str) -> Value {
    if function == "count" {
        return json!(rows.len());
    }
    let numbers: Vec<i64> =
        rows.iter().filter_map(|row| filter::member(&row.record, field)?.as_i64()).collect();
    let sum: i64 = numbers.iter().sum();
    match function {
        "sum" => json!(sum),
        "avg" if numbers.is_empty() => json!(0),
        #[expect(clippy::cast_precision_loss, reason = "numbers of these worlds are small")]
        "avg" => json!(sum as f64 / numbers.len() as f64),
        "min" => json!(numbers.iter().min()),
        "max" => json!(numbers.iter().max()),
        other => panic!("{other} is no aggregate"),
    }
}

/// In order of first appearance; `null` and absent are one value.
fn groups(rows: &[&Row], by: &[&str], aggregate: &Value) -> Value {
    let mut groups: Vec<(Vec<Value>, Vec<&Row>)> = Vec::new();
    for row in rows {
        let value = |name: &&str| filter::member(&row.record, name).cloned().unwrap_or_default();
        let values: Vec<Value> = by.iter().map(value).collect();
        match groups.iter_mut().find(|(known, _)| *known == values) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((values, vec![row])),
        }
    }
    let groups = groups.into_iter().map(|(_, rows)| {
        let function = aggregate["function"].as_str().unwrap();
        let value = fold(&rows, function, aggregate["field"].as_str().unwrap_or_default());
        // In a group the smallest of no numbers is 0.
        let value = if value.is_null() { json!(0) } else { value };
        json!({"key": projected(&rows[0].record, by), "value": value})
    });
    groups.collect()
}

fn projected(record: &Value, names: &[&str]) -> Value {
    let members =
        names.iter().filter_map(|name| Some(((*name).to_owned(), filter::member(record, name)?.clone())));
    Value::Object(members.collect::<Map<String, Value>>())
}

/// The buckets that a query reads.
pub(crate) fn buckets_of(tables: &Tables, query: &Value) -> Vec<String> {
    if *query == CODE {
        return vec!["teams".to_owned(), "orders".to_owned()];
    }
    let own = query["bucket"].as_str().unwrap();
    let mut buckets = vec![own.to_owned()];
    if query.get("include").is_some() {
        buckets.extend(tables.up(own).map(str::to_owned));
    }
    buckets
}

/// The result of a query. What it includes is referred to by the field `up`.
pub(crate) fn query(tables: &Tables, rules: &Rules<'_>, query: &Value) -> Answer {
    if *query == CODE {
        // The same as the closure that the worlds' servers have.
        let (teams, orders) = (Seen::new(tables, rules, "teams")?, Seen::new(tables, rules, "orders")?);
        let open = orders.matching(&json!({"open": true}))?.len();
        let first = teams.rows.first().map(|row| teams.shown(row));
        return Ok(json!({"first": first, "open": open}));
    }
    let own = query["bucket"].as_str().unwrap();
    let seen = Seen::new(tables, rules, own)?;
    let listed = |name: &str| query.get(name).map(names).unwrap_or_default();
    seen.open_to(query["sort"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()))?;
    let fields = listed("fields");
    seen.open_to(fields.iter().copied())?;
    let mut rows = seen.matching(&query["filter"])?;
    if let Some(aggregate) = query.get("aggregate") {
        let by = aggregate.get("groupBy").map(names);
        let field = aggregate["field"].as_str();
        seen.open_to(by.iter().flatten().copied().chain(field))?;
        return Ok(match by {
            Some(by) => groups(&rows, &by, aggregate),
            None => fold(&rows, aggregate["function"].as_str().unwrap(), field.unwrap_or_default()),
        });
    }
    sort(&mut rows, &query["sort"]);
    let number = |name: &str| query[name].as_u64().map(|n| usize::try_from(n).unwrap());
    let mut rows = rows.split_off(number("offset").unwrap_or(0).min(rows.len()));
    rows.truncate(number("limit").unwrap_or(usize::MAX));
    let included = match query["include"].as_object() {
        None => None,
        Some(included) => {
            seen.open_to(["up"])?;
            let name = included.keys().next().unwrap();
            Some((name, Seen::new(tables, rules, tables.up(own).unwrap())?))
        }
    };
    let shown = rows.into_iter().map(|row| {
        let mut shown = if fields.is_empty() { seen.shown(row) } else { projected(&row.record, &fields) };
        if let Some((name, up)) = &included {
            let found = up.rows.iter().find(|other| other.record["id"] == row.record["up"]);
            shown[name.as_str()] = found.map_or(Value::Null, |found| up.shown(found));
        }
        shown
    });
    Ok(shown.collect())
}
