use proptest::prelude::*;

use super::*;

fn found(pattern: &str, text: &str) -> bool {
    Pattern::compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}")).is_found_in(text)
}

#[test]
fn as_javascript_understands_it() {
    // Each expectation but that of "^😀+$" was checked with a JavaScript engine; there it needs flag u.
    let table: &[(&str, &[&str], &[&str])] = &[
        ("^a", &["a", "ab"], &["ba", "b\na", ""]),
        ("b$", &["ab"], &["b\n", "ba"]),
        ("", &["", "x"], &[]),
        ("a|", &["", "b"], &[]),
        ("^.$", &["a", "é", "\t", "\u{85}"], &["", "\n", "\r", "\u{2028}", "\u{2029}", "ab"]),
        (r"^\d+$", &["0123"], &["٣", "１", ""]),
        (r"^\D$", &["٣", "x", "\n"], &["5"]),
        (r"^\w+$", &["aZ_9"], &["é", "ſ", "-"]),
        (r"^\W$", &["é", "-"], &["a"]),
        (
            r"^\s$",
            &[" ", "\t", "\u{B}", "\u{A0}", "\u{FEFF}", "\u{2028}", "\u{3000}"],
            &["\u{85}", "\u{200B}", "x"],
        ),
        (r"^\S$", &["\u{85}", "x"], &["\u{FEFF}"]),
        (r"\bcat\b", &["a cat.", "écaté", "cat"], &["cats", "_cat"]),
        (r"é\b", &["éa"], &["é", "é "]),
        (r"a\Bb", &["ab"], &["a b"]),
        (r"^\B$", &[""], &["a"]),
        (r"^\/a\/$", &["/a/"], &["a"]),
        (r"^[[]$", &["["], &["]"]),
        (r"^[a[b]$", &["a", "[", "b"], &["a]"]),
        (r"^[a&&b]$", &["a", "&", "b"], &["c"]),
        (r"^[+--]$", &["+", ",", "-"], &["."]),
        (r"^[~~]$", &["~"], &["a"]),
        (r"^[-a]$", &["-", "a"], &["b"]),
        (r"^[a-]$", &["-", "a"], &["b"]),
        (r"^[a\-c]$", &["-", "a", "c"], &["b"]),
        (r"^[\w-x]$", &["-", "x", "q"], &["."]),
        (r"^[a-\d]$", &["a", "-", "5"], &["b"]),
        (r"^[^\D]$", &["5"], &["a"]),
        (r"^[\d\D]$", &["5", "a", "\n"], &[]),
        (r"^[\]\\]$", &["]", "\\"], &["["]),
        (r"^[\b]$", &["\u{8}"], &["b"]),
        (r"^[\B]$", &["B"], &["b"]),
        (r"^[.*+?^${}()|]$", &[".", "*", "^", "$", "{", "|", ")"], &["a"]),
        (r"^[^^]$", &["a"], &["^"]),
        (r"^[:alpha:]$", &[":", "a", "l"], &["b"]),
        ("[]", &[], &["", "a", "]"]),
        ("^[^]$", &["a", "\n"], &[""]),
        (r"^a{2}$", &["aa"], &["a", "a{2}"]),
        (r"^a{2,}?$", &["aa", "aaa"], &["a"]),
        (r"^a{1,2}$", &["a", "aa"], &["aaa"]),
        (r"^a{$", &["a{"], &["a"]),
        (r"^a{,2}$", &["a{,2}"], &["", "aa"]),
        (r"^a{1$", &["a{1"], &["a"]),
        (r"^{x}$", &["{x}"], &[""]),
        (r"^]}$", &["]}"], &[]),
        (r"^\x41\u0042\u00e9$", &["ABé"], &["ab"]),
        (r"^\xZ\u12$", &["xZu12"], &[]),
        (r"^\u{3}$", &["uuu"], &["\u{3}"]),
        (r"^\cA\cz$", &["\u{1}\u{1A}"], &["cAcz"]),
        (r"^\c$", &["\\c"], &["c"]),
        (r"^\c1$", &["\\c1"], &[]),
        (r"^[\c1]$", &["\u{11}"], &["c", "1", "\\"]),
        (r"^[\c*]$", &["\\", "c", "*"], &[]),
        (r"^\0$", &["\0"], &["0"]),
        (r"^\012\101$", &["\nA"], &[]),
        (r"^\400$", &["\u{20}0"], &[]),
        (r"^\1\8$", &["\u{1}8"], &["18"]),
        (r"^(a)\2$", &["a\u{2}"], &["aa"]),
        (r"^[(]\1$", &["(\u{1}"], &["(("]),
        (r"^\k$", &["k"], &[]),
        (r"^\a\-\e\%\ $", &["a-e% "], &[]),
        (r"^\uD83D\uDE00$", &["😀"], &["😁"]),
        ("^😀+$", &["😀😀"], &[""]),
        (r"^[\u0080-\uFFFF]+$", &["é😀\u{FFFF}"], &["a"]),
        (r"^[\uD800-\uDFFF]+$", &["😀"], &["é", "\u{E000}"]),
        (r"^[^\uD800-\uDFFF]$", &["é"], &["😀"]),
        (r"^(?:a|b)+(?<year>\d{4})(c)$", &["ab2024c"], &["2024c"]),
        (r"(a+)+$", &["aa"], &["ab"]),
        (r"^a+?b*?c??$", &["aabbc", "a"], &["b"]),
        (" #x", &[" #x"], &["#x", "x"]),
    ];
    for (pattern, matching, others) in table {
        for text in *matching {
            assert!(found(pattern, text), "{pattern} in {text:?}");
        }
        for text in *others {
            assert!(!found(pattern, text), "{pattern} not in {text:?}");
        }
    }
}

#[test]
fn what_is_no_pattern_or_not_linear_is_told() {
    let table = [
        ("(?=a)", "linear"),
        ("(?!a)", "linear"),
        ("(?<=a)", "linear"),
        ("(?<!a)", "linear"),
        (r"(a)\1", "linear"),
        (r"\2(a)(b)", "linear"),
        (r"(?<x>a)\k<x>", "linear"),
        ("(?i)a", "begins no group"),
        ("(?i:a)", "begins no group"),
        ("(?P<x>a)", "begins no group"),
        ("(?<>a)", "name of a group"),
        ("(?<1>a)", "name of a group"),
        ("(a", "never closed"),
        ("a)", "closes no group"),
        ("[a", "never closed"),
        ("[a\\", "never closed"),
        ("a\\", "escapes nothing"),
        ("*", "nothing that"),
        ("a**", "nothing that"),
        ("a+{2}", "nothing that"),
        ("{2}", "nothing that"),
        ("^*", "nothing that"),
        (r"\b+", "nothing that"),
        ("a|+", "nothing that"),
        ("(+)", "nothing that"),
        ("a{2,1}", "out of order"),
        ("[b-a]", "out of order"),
        (r"\p{L}", "flag u"),
        (r"[\p{L}]", "flag u"),
        (r"\uD83D", "half of a character"),
        (r"[\uD83D-\uD83E]", "half of a character"),
        ("(?:a{1000}){1000}", "Too large"),
        ("a{4294967296}", "Too large"),
        ("a{99999999999}", "Too large"),
    ];
    for (pattern, part) in table {
        let error = Pattern::compile(pattern).unwrap_err();
        assert!(error.contains(part), "{pattern}: {error}");
    }
    let depth = MAX_PATTERN_DEPTH as usize;
    let deep = |levels: usize| "(".repeat(levels) + &")".repeat(levels);
    assert!(Pattern::compile(&deep(depth)).is_ok());
    assert!(Pattern::compile(&deep(depth + 1)).unwrap_err().contains("deeper"));
    let repeated = "(?:".repeat(depth) + "a" + &"b|)+".repeat(depth);
    assert!(Pattern::compile(&repeated).is_ok());
    assert!(Pattern::compile(&"a".repeat(MAX_PATTERN_BYTES)).is_ok());
    assert!(Pattern::compile(&"a".repeat(MAX_PATTERN_BYTES + 1)).unwrap_err().contains("bytes"));
}

proptest! {
    #[test]
    fn an_escaped_text_finds_itself(text in "\\PC{0,20}", around in "\\PC{0,3}") {
        let escaped: String = text
            .chars()
            .flat_map(|c| if c.is_ascii_punctuation() { vec!['\\', c] } else { vec![c] })
            .collect();
        let inside = format!("{around}{text}{around}");
        prop_assert!(found(&escaped, &inside));
        let units: Vec<String> = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        let units = units.concat();
        let whole = format!("^{units}$");
        prop_assert!(found(&whole, &text));
        prop_assert_eq!(found(&whole, &around), around == text);
    }

    #[test]
    fn any_source_is_compiled_or_refused(source in "[ab0-9\\\\(){}\\[\\]^$.*+?|,:=!<>ucxdDwWbBkp-]{0,24}|\\PC{0,24}") {
        if let Err(error) = Pattern::compile(&source) {
            prop_assert!(!error.contains("cannot be used"), "the translation is read: {error}");
        }
    }
}
