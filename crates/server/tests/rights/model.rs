//! The model: who is who, what there is, and what each request must come to by `docs/access.md`.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use serde_json::{Value, json};

use crate::reads;
use crate::rights::{DEFINITIONS, Opinion, Policy, READS, Rule, Session, Touched, WRITES};
use crate::tables::{Answer, BUCKETS, Draft, Refused, Tables, refuse};

/// What a request must be answered with.
#[derive(Debug)]
pub(crate) enum Expected {
    Data(Value),
    /// A page, whose `cursor` is what the text stands for.
    Page {
        page: Value,
        bucket: String,
        sort: Value,
    },
    Refused(Vec<&'static str>),
    Subscribed(Box<Subscribed>),
    Unsubscribed(String),
    /// So many records match; nothing else is said of the data.
    Explained(usize),
    /// Statistics with these members among others.
    Stats {
        within: &'static str,
        known: Value,
    },
    /// Something that says nothing of any record.
    Silent,
}

/// A live query that begins.
#[derive(Debug, Clone)]
pub(crate) struct Subscribed {
    pub(crate) query: Query,
    pub(crate) result: Value,
    pub(crate) patch: bool,
    /// It asks for more than protocol 1.0.0 has.
    pub(crate) extended: bool,
    pub(crate) sight: Sight,
    /// The same by the end of its batch.
    pub(crate) sight_then: Sight,
}

/// A query with its parameters in their places, and its name if it has one.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) name: Option<String>,
    pub(crate) bound: Value,
}

/// What the rules leave of the buckets that a query reads: what it comes to, and how it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sight {
    pub(crate) comes_to: String,
    pub(crate) written: String,
    pub(crate) open: bool,
}

/// A connection, as far as rights are concerned.
pub(crate) struct Person {
    pub(crate) session: Option<Session>,
    rules: BTreeMap<&'static str, Rc<Rule>>,
}

pub(crate) struct Model {
    pub(crate) tables: Tables,
    pub(crate) policy: Policy,
    /// What the callback says, if there is one.
    pub(crate) opinions: Option<Vec<Opinion>>,
    /// Who may log in, by token.
    pub(crate) tokens: Vec<Session>,
    /// What whoever is not logged in is; nobody if a login is needed.
    pub(crate) anonymous: Option<Session>,
    pub(crate) queries: BTreeMap<String, Value>,
    pub(crate) people: Vec<Person>,
    /// Answers to writes with an idempotency key, by whose it is and the key: the request, and its answer.
    remembered: HashMap<(Option<String>, String), (Value, Value)>,
    /// How many answers were told again.
    pub(crate) repeats: u64,
    /// Records as they became since somebody looked last.
    pub(crate) changed: Vec<(&'static str, Rc<Value>)>,
}

impl Model {
    pub(crate) fn new(
        tables: Tables,
        (policy, opinions): (Policy, Option<Vec<Opinion>>),
        tokens: Vec<Session>,
        anonymous: Option<Session>,
        people: usize,
    ) -> Self {
        let people = (0..people).map(|_| Person { session: None, rules: BTreeMap::new() }).collect();
        let (queries, remembered, changed) = (BTreeMap::new(), HashMap::new(), Vec::new());
        let repeats = 0;
        let mut model = Self {
            tables,
            policy,
            opinions,
            tokens,
            anonymous,
            queries,
            people,
            remembered,
            repeats,
            changed,
        };
        model.rights_changed();
        model
    }

    /// Works out the rules of everybody anew.
    pub(crate) fn rights_changed(&mut self) {
        for person in &mut self.people {
            let session = person.session.as_ref().or(self.anonymous.as_ref());
            let rule = |bucket| session.map(|session| self.policy.rule(session, bucket)).unwrap_or_default();
            person.rules = BUCKETS.iter().map(|bucket| (*bucket, Rc::new(rule(bucket)))).collect();
        }
    }

    /// Who somebody is for those who ask for his rights.
    pub(crate) fn session(&self, who: usize) -> Option<&Session> {
        self.people[who].session.as_ref().or(self.anonymous.as_ref())
    }

    pub(crate) fn rule(&self, who: usize, bucket: &str) -> Rc<Rule> {
        self.people[who].rules.get(bucket).cloned().unwrap_or_default()
    }

    /// The rules of all buckets, for whoever reads or writes.
    pub(crate) fn rules(&self, who: usize) -> impl Fn(&str) -> Rc<Rule> + use<> {
        let rules = self.people[who].rules.clone();
        move |bucket| rules.get(bucket).cloned().unwrap_or_default()
    }

    pub(crate) fn allows(&self, who: usize, kind: &str, touched: &[Touched]) -> bool {
        self.session(who).is_some_and(|session| self.judges(session, kind, touched))
    }

    /// The callback is asked before the policy.
    fn judges(&self, session: &Session, kind: &str, touched: &[Touched]) -> bool {
        let user = session.user.as_deref().unwrap_or("anonymous");
        let of_bucket = |name: &str| touched.contains(&Touched::Bucket(name.to_owned()));
        let mut opinions = self.opinions.iter().flatten();
        match opinions.find(|opinion| opinion.is_about(user, kind, of_bucket)) {
            Some(opinion) => opinion.allows,
            None => self.policy.allows(session, kind, touched),
        }
    }

    /// Whether a session may do anything at all on a bucket. Of a callback nobody knows what it would allow; reading stands for
    /// everything.
    fn shows(&self, session: &Session, bucket: &str) -> bool {
        let touched = [Touched::Bucket(bucket.to_owned())];
        let may = |kind: &&str| self.judges(session, kind, &touched);
        if self.opinions.is_some() {
            return may(&"store.get");
        }
        let kinds = READS.iter().filter(|kind| **kind != "store.unsubscribe");
        kinds.chain(&WRITES).chain(&DEFINITIONS).any(may)
    }

    pub(crate) fn sight(&self, who: usize, query: &Value) -> Sight {
        let buckets = reads::buckets_of(&self.tables, query);
        let rules: Vec<Rc<Rule>> = buckets.iter().map(|bucket| self.rule(who, bucket)).collect();
        let comes_to: Vec<_> = rules.iter().map(|rule| rule.view()).collect();
        let mut written: Vec<_> = rules.iter().map(|rule| rule.text()).collect();
        if *query == *CODE {
            // The rules of all buckets are those of a query that is code: what it reads is its own affair.
            written = BUCKETS.iter().map(|bucket| self.rule(who, bucket).text()).collect();
        }
        if query.get("include").is_some() {
            // What includes is bound to the buckets that it looks into now, as soon as there is a rule for any bucket.
            let all_open = BUCKETS.iter().all(|bucket| self.rule(who, bucket).shows_all());
            written.push(format!("all open: {all_open}"));
        }
        let open = rules.iter().all(|rule| rule.shows_all());
        Sight { comes_to: format!("{comes_to:?}"), written: format!("{written:?}"), open }
    }

    /// What a live query shows somebody now; nothing but a refusal if he may not watch it.
    pub(crate) fn watched(&self, who: usize, query: &Query) -> Answer {
        let read = reads::buckets_of(&self.tables, &query.bound).into_iter().map(Touched::Bucket);
        let touched: Vec<Touched> = query.name.iter().cloned().map(Touched::Query).chain(read).collect();
        if !self.allows(who, "store.subscribe", &touched) {
            return refuse("FORBIDDEN");
        }
        reads::query(&self.tables, &self.rules(who), &query.bound)
    }

    /// A write of the program itself, which no rule holds back.
    pub(crate) fn embedded(&mut self, kind: &str, request: &Value) -> Answer {
        self.carry_out(&|_| Rc::default(), |draft| draft.write(kind, request))
    }

    fn carry_out(
        &mut self,
        rules: &dyn Fn(&str) -> Rc<Rule>,
        run: impl FnOnce(&mut Draft<'_>) -> Answer,
    ) -> Answer {
        let mut draft = Draft::new(&self.tables, rules);
        let answer = run(&mut draft)?;
        let touched: Vec<(&'static str, u64)> = draft.before.keys().copied().collect();
        self.tables = draft.finish()?;
        for (bucket, place) in touched {
            let rows = &self.tables.bucket(bucket)?.rows;
            let now = rows.iter().find(|row| row.place == place);
            self.changed.extend(now.map(|row| (bucket, Rc::clone(&row.record))));
        }
        Ok(answer)
    }

    /// What the request of somebody must be answered with; what it does is done.
    pub(crate) fn expected(&mut self, who: usize, request: &Value) -> Expected {
        match self.asked(who, request) {
            Ok(expected) => expected,
            Err(Refused(codes)) => Expected::Refused(codes),
        }
    }

    fn asked(&mut self, who: usize, request: &Value) -> Result<Expected, Refused> {
        let kind = request["type"].as_str().unwrap();
        let shown =
            |session: &Session| json!({"userId": session.user, "roles": session.roles, "expiresAt": null});
        match kind {
            "auth.login" => {
                let token = request["token"].as_str().unwrap().strip_prefix("token-").unwrap();
                let token = token.parse::<usize>().ok().and_then(|token| self.tokens.get(token)).cloned();
                let Some(session) = token else { return refuse("UNAUTHORIZED") };
                let data = shown(&session);
                self.people[who].session = Some(session);
                self.rights_changed();
                return Ok(Expected::Data(data));
            }
            "auth.logout" => {
                self.people[who].session = None;
                self.rights_changed();
                return Ok(Expected::Data(json!({"loggedOut": true})));
            }
            "auth.whoami" => {
                let session = self.people[who].session.as_ref();
                let mut data = session.map_or_else(|| json!({}), shown);
                data["authenticated"] = json!(session.is_some());
                return Ok(Expected::Data(data));
            }
            "hello" => return Ok(Expected::Silent),
            _ => {}
        }
        let Some(session) = self.session(who).cloned() else { return refuse("UNAUTHORIZED") };
        if let Some(id) = request["subscriptionId"].as_str() {
            // Whatever concerns only the connection itself needs no right.
            return Ok(match kind {
                "store.unsubscribe" => Expected::Unsubscribed(id.to_owned()),
                _ => Expected::Silent,
            });
        }
        let touched = self.touched(kind, request);
        let mut allowed = self.judges(&session, kind, &touched);
        for operation in request["operations"].as_array().into_iter().flatten() {
            let kind = format!("store.{}", operation["op"].as_str().unwrap());
            let bucket = Touched::Bucket(operation["bucket"].as_str().unwrap().to_owned());
            allowed &= self.judges(&session, &kind, &[bucket]);
        }
        if !allowed {
            return refuse("FORBIDDEN");
        }
        let name = kind.strip_prefix("store.").unwrap_or(kind);
        match kind {
            "store.explain" => self.explained(who, request),
            "store.subscribe" => self.subscribed(who, request),
            "store.buckets" | "store.stats" | "server.stats" => Ok(self.counted(who, &session, kind)),
            "store.listQueries" => {
                let defined = self.queries.iter().filter(|(name, _)| *name != CODE);
                let queries = defined.map(|(name, config)| json!({"name": name, "config": config}));
                Ok(Expected::Stats { within: "", known: json!({"queries": queries.collect::<Vec<_>>()}) })
            }
            "server.connections" | "store.getBucketSchema" => Ok(Expected::Silent),
            _ if READS.contains(&kind) => {
                let answer = reads::read(&self.tables, &self.rules(who), name, request)?;
                if kind != "store.paginate" || answer.get("nextCursor").is_some() {
                    return Ok(Expected::Data(answer));
                }
                let bucket = request["bucket"].as_str().unwrap().to_owned();
                Ok(Expected::Page { page: answer, bucket, sort: request["sort"].clone() })
            }
            _ => self.written(who, &session, name, request).map(Expected::Data),
        }
    }

    fn touched(&self, kind: &str, request: &Value) -> Vec<Touched> {
        let bucket = |value: &Value| Touched::Bucket(value.as_str().unwrap().to_owned());
        let mut touched: Vec<Touched> = Vec::new();
        if let Some(query) = request.get("query") {
            let query = match query.as_str() {
                Some(name) => {
                    touched.push(Touched::Query(name.to_owned()));
                    self.queries.get(name)
                }
                None => Some(query),
            };
            let read = query.map(|query| reads::buckets_of(&self.tables, query)).unwrap_or_default();
            touched.extend(read.into_iter().map(Touched::Bucket));
        } else if kind == "store.getBucketSchema" {
            touched.push(bucket(&request["name"]));
        } else if let Some(operations) = request["operations"].as_array() {
            touched.extend(operations.iter().map(|operation| bucket(&operation["bucket"])));
        } else if let Some(name) = request.get("bucket") {
            touched.push(bucket(name));
        } else {
            touched.push(Touched::Server);
        }
        touched
    }

    fn explained(&self, who: usize, request: &Value) -> Result<Expected, Refused> {
        let query = match request["query"].as_str() {
            None => request.clone(),
            Some(name) => match self.queries.get(name) {
                Some(query) => bind(query, &request["params"]),
                None => return refuse("QUERY_NOT_DEFINED"),
            },
        };
        let bucket = query["bucket"].as_str().unwrap();
        // It would tell how many records were looked at.
        if reads::buckets_of(&self.tables, &query).iter().any(|bucket| !self.rule(who, bucket).is_open()) {
            return refuse("FORBIDDEN");
        }
        let filter = json!({"bucket": bucket, "filter": query["filter"]});
        let count = reads::read(&self.tables, &self.rules(who), "count", &filter)?;
        Ok(Expected::Explained(usize::try_from(count.as_u64().unwrap()).unwrap()))
    }

    fn subscribed(&self, who: usize, request: &Value) -> Result<Expected, Refused> {
        let query = match request["query"].as_str() {
            None => Query { name: None, bound: request["query"].clone() },
            Some(name) => match self.queries.get(name) {
                Some(query) => Query { name: Some(name.to_owned()), bound: bind(query, &request["params"]) },
                None => return refuse("QUERY_NOT_DEFINED"),
            },
        };
        let result = reads::query(&self.tables, &self.rules(who), &query.bound)?;
        let patch = request["mode"] == "patch";
        let extended = patch || request.get("resume").is_some();
        let sight = self.sight(who, &query.bound);
        Ok(Expected::Subscribed(Box::new(Subscribed {
            query,
            result,
            patch,
            extended,
            sight_then: sight.clone(),
            sight,
        })))
    }

    /// Names of buckets on which the session may do anything, and how many records there are in those that it sees whole.
    fn counted(&self, who: usize, session: &Session, kind: &str) -> Expected {
        let known = |bucket: &&str| self.shows(session, bucket);
        let names: Vec<&str> = self.tables.names().filter(known).collect();
        if kind == "store.buckets" {
            return Expected::Stats { within: "", known: json!({"count": names.len(), "names": names}) };
        }
        let mut counts = serde_json::Map::new();
        for name in names.iter().filter(|name| self.rule(who, name).shows_all()) {
            let rows = self.tables.bucket(name).map_or(0, |bucket| bucket.rows.len());
            counts.insert((*name).to_owned(), json!(rows));
        }
        let total: u64 = counts.values().filter_map(Value::as_u64).sum();
        let known = json!({
            "buckets": {"count": names.len(), "names": names},
            "records": {"total": total, "perBucket": counts},
        });
        Expected::Stats { within: if kind == "server.stats" { "/store" } else { "" }, known }
    }

    fn written(&mut self, who: usize, session: &Session, kind: &str, request: &Value) -> Answer {
        let mut asked = request.clone();
        let key = asked.as_object_mut().unwrap().shift_remove("idempotencyKey");
        // Whoever is not logged in is his address, and all of these have the same.
        let logged_in = self.people[who].session.is_some();
        let place =
            key.map(|key| (session.user.clone().filter(|_| logged_in), key.as_str().unwrap().to_owned()));
        if let Some((before, answer)) = place.as_ref().and_then(|place| self.remembered.get(place)) {
            return if *before == asked {
                self.repeats += 1;
                Ok(answer.clone())
            } else {
                refuse("CONFLICT")
            };
        }
        let rules = self.rules(who);
        let answer = self.carry_out(&rules, |draft| match kind {
            "transaction" => transaction(draft, &rules, &request["operations"]),
            _ => draft.write(kind, request),
        })?;
        if let Some(place) = place {
            self.remembered.insert(place, (asked, answer.clone()));
        }
        Ok(answer)
    }
}

fn transaction(draft: &mut Draft<'_>, rules: &dyn Fn(&str) -> Rc<Rule>, operations: &Value) -> Answer {
    let mut results = Vec::new();
    for (index, operation) in operations.as_array().unwrap().iter().enumerate() {
        let kind = operation["op"].as_str().unwrap();
        let answer = if READS.contains(&format!("store.{kind}").as_str()) {
            reads::read(&draft.tables, rules, kind, operation)
        } else {
            draft.write(kind, operation)
        };
        let data = answer.map_err(|Refused(codes)| {
            // A key that is taken is a conflict here.
            Refused(
                codes
                    .into_iter()
                    .map(|code| if code == "ALREADY_EXISTS" { "CONFLICT" } else { code })
                    .collect(),
            )
        })?;
        results.push(json!({"index": index, "data": data}));
    }
    Ok(json!({"results": results}))
}

/// What is asked for by the name of the query that is code.
pub(crate) const CODE: &str = "code";

/// A query with parameters in their places: the only one that these queries have is the owner.
pub(crate) fn bind(query: &Value, params: &Value) -> Value {
    match query {
        Value::String(text) if text == "{{ params.owner }}" => params["owner"].clone(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), bind(value, params))).collect()
        }
        other => other.clone(),
    }
}
