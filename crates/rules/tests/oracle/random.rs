//! Random rules and random inputs.

use serde_json::{Value, json};

/// A generator of numbers whose seed can be printed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()].clone()
    }

    fn some(&mut self, least: u64, most: u64, mut one: impl FnMut(&mut Self) -> Value) -> Vec<Value> {
        (0..least + self.below(most - least + 1)).map(|_| one(self)).collect()
    }

    pub(crate) fn topic(&mut self) -> &'static str {
        self.of(&["a", "b", "c", "a.x", "late"])
    }

    pub(crate) fn key(&mut self) -> &'static str {
        self.of(&["k:1", "k:2", "k:x", "n"])
    }

    pub(crate) fn timer_name(&mut self) -> &'static str {
        self.of(&["t:1", "t:2", "u"])
    }

    /// What may be in facts and events.
    pub(crate) fn plain(&mut self) -> Value {
        self.of(&[
            json!(0),
            json!(1),
            json!(2),
            json!("x"),
            json!("1"),
            json!(true),
            json!(null),
            json!([1, "x"]),
        ])
    }

    pub(crate) fn event_data(&mut self) -> Value {
        let mut data = json!({});
        for (name, value) in [("g", self.of(&[json!(1), json!(2), json!("x")])), ("v", self.plain())] {
            if !self.one_in(8) {
                data[name] = value;
            }
        }
        if self.one_in(3) {
            data["list"] = Value::from(self.some(0, 3, Self::plain));
        }
        data
    }

    fn reference(&mut self) -> &'static str {
        self.of(&[
            "event.g",
            "event.v",
            "trigger.v",
            "event.list.0",
            "fact.k:1",
            "fact.n",
            "var.i",
            "var.i_index",
            "var.e.code",
            "var.first.g",
            "matched.0.g",
            "matched.1.v",
            "trigger.fact.key",
            "trigger.fact.value",
            "trigger.previous.value",
            "trigger.timerName",
            "trigger.count",
            "trigger.groupKey",
            "event.nope",
        ])
    }

    /// A value with references, `levels` deep.
    fn value(&mut self, levels: u64) -> Value {
        match self.below(if levels == 0 { 3 } else { 5 }) {
            0 => self.plain(),
            1 => json!({"ref": self.reference()}),
            2 => json!(format!("<${{{}}}-${{{}}}>", self.reference(), self.reference())),
            3 => Value::from(self.some(0, 2, |random| random.value(levels - 1))),
            _ => json!({"p": self.value(levels - 1), "q": self.value(levels - 1)}),
        }
    }

    fn data(&mut self) -> Value {
        let mut data =
            json!({"g": self.of(&[json!({"ref": "event.g"}), json!(1), json!({"ref": "trigger.groupKey"})])});
        if self.one_in(2) {
            data["v"] = self.value(1);
        }
        data
    }

    fn condition(&mut self, levels: u64) -> Value {
        if levels > 0 && self.one_in(4) {
            return match self.below(3) {
                0 => json!({"any": self.some(1, 3, |random| random.condition(levels - 1))}),
                1 => json!({"all": self.some(1, 3, |random| random.condition(levels - 1))}),
                _ => json!({"not": self.condition(levels - 1)}),
            };
        }
        let source = match self.below(6) {
            0..=2 => {
                json!({"type": "event", "field": self.of(&["g", "v", "list", "list.0", "fact.value", "count", "nope"])})
            }
            3 | 4 => json!({"type": "fact", "pattern": self.of(&["k:1", "k:*", "n", "*", "k:${event.g}"])}),
            _ => json!({"type": "context", "key": self.of(&["i", "i_index", "first.g", "e.code"])}),
        };
        let operator = self.of(&[
            "eq",
            "eq",
            "neq",
            "neq",
            "gt",
            "gte",
            "lt",
            "lte",
            "in",
            "not_in",
            "contains",
            "not_contains",
            "exists",
            "not_exists",
        ]);
        json!({"source": source, "operator": operator, "value": self.value(1)})
    }

    fn conditions(&mut self, least: u64, most: u64) -> Vec<Value> {
        self.some(least, most, |random| random.condition(2))
    }

    pub(crate) fn timer(&mut self, constant: bool) -> Value {
        let name = if constant || self.one_in(2) { self.timer_name() } else { "t:${event.g}" };
        let topic = self.topic();
        let data = if constant { self.event_data() } else { self.data() };
        let mut timer =
            json!({"name": name, "duration": 1 + self.below(15), "onExpire": {"topic": topic, "data": data}});
        if self.one_in(3) {
            timer["repeat"] = json!({"interval": 3 + self.below(12), "maxCount": 1 + self.below(4)});
        }
        timer
    }

    fn action(&mut self, levels: u64) -> Value {
        let key = |random: &mut Self| random.of(&["k:1", "k:${event.g}", "n", "k:${var.i}", "${event.nope}"]);
        match self.below(if levels == 0 { 10 } else { 14 }) {
            0..=2 => {
                json!({"type": "set_fact", "key": key(self), "value": self.value(2), "silent": self.one_in(5)})
            }
            3 => json!({"type": "delete_fact", "key": key(self), "silent": self.one_in(5)}),
            4..=6 => {
                let topic = self.of(&["a", "b", "c", "a.x", "a.${event.g}", "${event.nope}"]);
                json!({"type": "emit_event", "topic": topic, "data": self.data()})
            }
            7 => json!({"type": "set_timer", "timer": self.timer(false)}),
            8 => json!({"type": "cancel_timer", "name": self.of(&["t:1", "t:${event.g}"])}),
            9 => json!({"type": "store_insert", "bucket": "b", "data": {"v": 1}}),
            10 => {
                let mut action = json!({"type": "conditional", "conditions": self.conditions(1, 2), "then": self.actions(levels - 1, 1)});
                if self.one_in(2) {
                    action["else"] = json!(self.actions(levels - 1, 1));
                }
                action
            }
            11 | 12 => {
                let collection =
                    self.of(&[json!([1, "x", 2]), json!({"ref": "event.list"}), json!([{"ref": "event.v"}])]);
                let mut action = json!({"type": "for_each", "collection": collection, "as": "i", "actions": self.actions(levels - 1, 1)});
                if self.one_in(3) {
                    action["maxIterations"] = json!(2);
                }
                action
            }
            _ => {
                let mut action = json!({"type": "try_catch", "try": self.actions(levels - 1, 1)});
                let catches = !self.one_in(4);
                if catches {
                    action["catch"] = json!({"as": "e", "actions": self.actions(levels - 1, 1)});
                }
                if !catches || self.one_in(2) {
                    action["finally"] = json!(self.actions(levels - 1, 1));
                }
                action
            }
        }
    }

    fn actions(&mut self, levels: u64, least: u64) -> Vec<Value> {
        self.some(least, 3, |random| random.action(levels))
    }

    fn matcher(&mut self) -> Value {
        let mut matcher = json!({"topic": self.of(&["a", "b", "c", "*", "a.*", "late"])});
        if self.one_in(3) {
            matcher["filter"] = json!({"v": 1});
        }
        matcher
    }

    fn pattern(&mut self) -> Value {
        let mut pattern = match self.below(4) {
            0 => {
                let mut events = self.some(2, 3, Self::matcher);
                events[0]["as"] = json!("first");
                json!({"type": "sequence", "events": events, "within": 1 + self.below(15), "strict": self.one_in(3)})
            }
            1 => {
                let (after, expected) = (self.matcher(), self.matcher());
                json!({"type": "absence", "after": after, "expected": expected, "within": 1 + self.below(15)})
            }
            kind => {
                let mut pattern = json!({
                    "type": "count", "event": self.matcher(), "window": 1 + self.below(15), "sliding": self.one_in(2),
                    "threshold": 1 + self.below(3), "comparison": self.of(&["gte", "lte", "eq"]), "once": self.one_in(3),
                });
                if pattern["sliding"] == json!(false) {
                    pattern["emptyWindows"] = json!(self.one_in(2));
                }
                if kind == 3 {
                    pattern["type"] = json!("aggregate");
                    pattern["field"] = json!("v");
                    pattern["function"] = json!(self.of(&["sum", "avg", "min", "max", "count"]));
                }
                pattern
            }
        };
        if self.one_in(2) {
            pattern["groupBy"] = json!("g");
        }
        pattern
    }

    pub(crate) fn rule(&mut self, id: &str) -> Value {
        let trigger = match self.below(10) {
            0..=3 => json!({"type": "event", "topic": self.of(&["a", "b", "c", "*", "a.*", "*.x", "late"])}),
            4 | 5 => {
                let on = self.of(&[
                    json!("set"),
                    json!("changed"),
                    json!(["changed", "deleted"]),
                    json!("deleted"),
                ]);
                json!({"type": "fact", "pattern": self.of(&["k:1", "k:*", "n", "*"]), "on": on})
            }
            6 => json!({"type": "timer", "name": self.of(&["t:1", "t:*", "u"])}),
            _ => json!({"type": "temporal", "pattern": self.pattern()}),
        };
        let mut rule = json!({
            "id": id, "name": id, "priority": self.below(3), "enabled": !self.one_in(6), "trigger": trigger,
            "conditions": self.conditions(0, 2), "actions": self.actions(2, 0),
        });
        if self.one_in(4) {
            rule["group"] = json!("g");
        }
        rule
    }
}
