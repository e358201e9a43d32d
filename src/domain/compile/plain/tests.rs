//! What is read plainly is what the parser of the whole language reads, to the last place.

use proptest::prelude::*;

use super::super::parse::whole_language;
use super::*;
use crate::domain::diagnostic::Diagnostics;

/// Whether a text is plain; if it is, the parser of the whole language must find the same, and nothing to say.
fn is_plain(text: &str) -> Result<bool, TestCaseError> {
    let file: Arc<str> = "file.yaml".into();
    let Some(found) = read(&file, text) else { return Ok(false) };
    let mut problems = Diagnostics::default();
    let documents = whole_language(file, text, &mut problems);
    let said: Vec<String> = problems.iter().map(|problem| problem.message.clone()).collect();
    prop_assert!(said.is_empty(), "{said:?}\n{text}");
    let [wanted] = &documents[..] else {
        return Err(TestCaseError::fail(format!("{} documents", documents.len())));
    };
    prop_assert!(wanted.sound && found.sound && found.index == wanted.index);
    prop_assert_eq!(&found.value, &wanted.value, "{}", text);
    prop_assert_eq!(&found.marks, &wanted.marks, "{}", text);
    Ok(true)
}

#[test]
fn what_is_plain_is_read() {
    for text in [
        "a: b\n",
        "a: b",
        "# c\n\n---\n# d\na: b # e\n\n# f\n",
        "a:\n  b:\n    - c\n    - d: 1\n      e: true\n    -\n      f: null\n  g: ~\n",
        "a:\n- b\n- - c\n  - d\nh: i\n",
        "- a\n-   b: c\n    d: e\n",
        "a: [b, 'c, d', \"e: f\", [1, 2.5], {g: h, \"i\": [], j: {}}, s3://k/l, -1, --m=n]\n",
        "a: {b: c, d: e f, 'g h': i}\n",
        "\"a b\": 'c: d # e'\n'f' : \"{{ g }}\"\n",
        "a: b:c d#e {f} [g], h 'i' \"j\" - k\nl: -m\nn: .o\n",
        "a: b   \nc:   d\n",
    ] {
        assert!(is_plain(text).unwrap(), "{text}");
    }
}

#[test]
fn what_is_not_plain_is_left_to_others() {
    for text in [
        "",
        "# a\n",
        "a\n",
        "[a]\n",
        "a:\n",
        "a: b\n---\nc: d\n",
        "a: b\n...\n",
        "%YAML 1.2\n---\na: b\n",
        "a: &b c\n",
        "a: *b\n",
        "a: !b c\n",
        "a: |\n  b\n",
        "a: >-\n  b\n",
        "a: b\n  c\n",
        "a: 'b\n  c'\n",
        "a: \"b\\n\"\n",
        "a: 'b''c'\n",
        "a: [b,\n  c]\n",
        "a: b\na: c\n",
        "a: {b: c, b: d}\n",
        "1: a\n",
        "yes: a\n",
        "a: yes\n",
        "a: 010\n",
        "a: .inf\n",
        "<<: {a: b}\n",
        "a:\tb\n",
        "a: \u{e9}\n",
        "a: b\r\n",
        "? a\n: b\n",
        "a: b: c\n",
        "a: - b\n",
        "a: [b: c]\n",
        "a: {b}\n",
        "a: {b: }\n",
        "a: [b, ]\n",
        "a: {{ b }}\n",
        "a:\n  - b\n c: d\n",
        "  a: b\nc: d\n",
        "--- a: b\n",
        "- a\nb: c\n",
        "a: [b]c\n",
        "a: 'b'c\n",
        "a: @b\n",
        "a: %b\n",
        "a: `b`\n",
        "a: ]\n",
        "a: - \n",
        "-\n",
        "a: {b:c}\n",
        "a: [b, c\n",
    ] {
        assert!(!is_plain(text).unwrap(), "{text:?}");
    }
    let deep = (0..40).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>();
    assert!(!is_plain(&format!("{deep}{}b: c\n", " ".repeat(40))).unwrap());
    assert!(!is_plain(&format!("a: {}{}\n", "[".repeat(40), "]".repeat(40))).unwrap());
    assert!(!is_plain(&format!("{}: b\n", "a".repeat(600))).unwrap());
}

/// What may stand on a line: much of it fits together, some of it never does.
const PARTS: [&str; 60] = [
    "a: b",
    "c: 1",
    "d:",
    "e:",
    "- f",
    "- g: h",
    "-",
    "- - i",
    "j: [k, l]",
    "m: {n: o, p: [q]}",
    "'r': s",
    "\"t\": u",
    "v: 'w: x'",
    "y: \"z\"",
    "# a",
    "b: c # d",
    "e: f#g",
    "h : i",
    "- [j]",
    "- {k: l}",
    "m: n  ",
    "",
    "",
    "- 'o'",
    "- p:",
    "q: []",
    "r: {}",
    "s: t:u",
    "- v: w",
    "x: - y",
    "z: a: b",
    "{c: d}: e",
    "? f",
    ": g",
    "h: &i j",
    "k: *i",
    "- !l m",
    "n: |",
    "o: >-",
    "1: p",
    "no: q",
    "r: 0x1F",
    "s: 1_0",
    "t: {u}",
    "v: [w: x]",
    "[y, z",
    "---",
    "...",
    "--- a",
    "-b: c",
    "d:e",
    "f: [g,",
    "h]",
    "i: 'j''k'",
    "l: \"m\\n\"",
    "n: {o: p,q: r}",
    "s: {'t':u}",
    "v: [a b , c]",
    "w: -x",
    "y: 'z' # a",
];

fn lines() -> impl Strategy<Value = String> {
    let line = (0usize..5, proptest::sample::select(&PARTS[..]));
    let usual = (0usize..4, proptest::sample::select(&PARTS[..30]));
    proptest::collection::vec(prop_oneof![9 => usual, 1 => line], 1..9)
        .prop_map(|lines| lines.iter().map(|(indent, part)| format!("{}{part}\n", "  ".repeat(*indent))).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_plainly_is_what_yaml_means(text in lines()) {
        is_plain(&text)?;
    }

    /// One character of a plain file is another one.
    #[test]
    fn a_slip_of_the_pen_is_never_read_otherwise(at in 0usize..220, with in "[-:,\\[\\]{}#&*!|>'\"%@`? \na0~.<=]{0,2}") {
        let text = "a: b\nc:\n  - d: [e, {f: 1}]\n    g: \"h i\" # j\n  - k\nl:\n- m: 'n'\n  o: {p: q, r: [s, -1]}\n\
                    t:\n  u:\n    v: w x\n    y: s3://z/a\n# b\nc1: --d=e\nf: true\ng: [\"{{ h }}\", '']\n";
        let at = at % text.len();
        is_plain(&format!("{}{with}{}", &text[..at], &text[at + 1..]))?;
        is_plain(&format!("{}{with}{}", &text[..at], &text[at..]))?;
    }
}
