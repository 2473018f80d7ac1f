//! How deep a frame is nested: told by its brackets, without reading it and without recursion.

/// Whether objects and arrays of a JSON text lie in each other more than `levels` deep. Of text that is no JSON it says
/// something, and does not fail.
///
/// ```
/// use dunlin_protocol::nested_deeper;
/// assert!(nested_deeper(r#"{"data":[[1]]}"#, 2));
/// assert!(!nested_deeper(r#"{"data":[[1]]}"#, 3));
/// assert!(!nested_deeper(r#"{"text":"[[[[[["}"#, 1));
/// ```
pub fn nested_deeper(text: &str, levels: usize) -> bool {
    // Each level takes two brackets; most frames are shorter. And most long ones have fewer that open, wherever they stand:
    // counting them is far quicker than telling which stand in strings.
    if text.len() <= 2 * levels || text.bytes().filter(|byte| opens(*byte)).count() <= levels {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > levels {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

fn opens(byte: u8) -> bool {
    // The two differ in this bit only.
    byte | 0x20 == b'{'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof!["[\\[\\]{}\"\\\\a]{0,6}".prop_map(Value::from), any::<i32>().prop_map(Value::from)];
        leaf.prop_recursive(12, 40, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[\\[{\"\\\\b]{0,3}", inner, 0..3)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_the_depth_of_the_document(document in document(), levels in 0usize..14) {
            prop_assert_eq!(nested_deeper(&document.to_string(), levels), depth(&document) > levels);
        }

        #[test]
        fn any_text_is_judged(text in "[\\[\\]{}\"\\\\aé]{0,40}", levels in 0usize..5) {
            let _ = nested_deeper(&text, levels);
        }
    }

    #[test]
    fn megabytes_of_brackets_do_not_overflow_anything() {
        assert!(nested_deeper(&"[".repeat(4 << 20), 128));
        assert!(nested_deeper(&("]".repeat(4 << 20) + &"[".repeat(129)), 128));
    }
}
