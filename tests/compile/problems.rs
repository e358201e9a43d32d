//! Every problem of `problems.txt`, as a person sees it; and every rendering.

use std::collections::BTreeSet;

use tidegate::domain::compile::report::{Colour, Format, Sources, render};
use tidegate::domain::compile::{codes, compile};
use tidegate::domain::diagnostic::Severity;

use crate::repo::over_base;

const PROBLEMS: &str = include_str!("problems.txt");

fn cases() -> impl Iterator<Item = (&'static str, &'static str)> {
    PROBLEMS.split("=== ").skip(1).map(|case| case.split_once('\n').unwrap())
}

#[test]
fn the_base_is_sound() {
    let compiled = compile(&over_base(""));
    assert!(compiled.diagnostics.is_empty(), "{:#?}", compiled.diagnostics);
    assert!(compiled.catalog.is_some());
}

#[test]
fn problems_are_shown_with_their_place_and_how_to_mend_them() {
    for (name, text) in cases() {
        let files = over_base(text);
        let compiled = compile(&files);
        assert!(!compiled.diagnostics.is_empty(), "{name} has no problem");
        let catalog = match &compiled.catalog {
            None => "no catalog".to_owned(),
            Some(catalog) => format!(
                "workflows: {:?}, unsound: {:?}",
                catalog.workflows.keys().map(ToString::to_string).collect::<Vec<_>>(),
                catalog.unsound.keys().map(ToString::to_string).collect::<Vec<_>>()
            ),
        };
        let shown = render(Format::Text, &compiled.diagnostics, &Sources::of(&files), Colour::Never);
        insta::with_settings!({ description => text, omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, format!("{shown}\n{catalog}"));
        });
    }
}

#[test]
fn every_code_has_a_fixture_and_every_severity_is_that_of_the_table() {
    let mut seen = BTreeSet::new();
    for (name, text) in cases() {
        for problem in compile(&over_base(text)).diagnostics.iter() {
            let entry = codes::entry(problem.code).unwrap_or_else(|| panic!("{name}: {} has no entry", problem.code));
            assert_eq!(entry.severity, problem.severity, "{name}: {}", problem.code);
            seen.insert(problem.code);
        }
    }
    // Those that only hostile text or lone files trigger have their fixtures in `hostile.rs` and `lone.rs`.
    let hostile = [codes::TOO_MANY_NODES, codes::ALIAS_BOMB, codes::TOO_MANY_DOCUMENTS, codes::INNER_GRAPH];
    let missing: Vec<_> =
        codes::TABLE.iter().map(|e| e.code).filter(|c| !seen.contains(c) && !hostile.contains(c)).collect();
    assert_eq!(missing.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn every_format_renders_the_same_problems() {
    let text = cases().find(|(name, _)| *name == "several_problems_at_once").unwrap().1;
    let both = format!("{text}{}", cases().find(|(name, _)| *name == "yaml_1_1_key").unwrap().1);
    let files = over_base(&format!("{both}--- queues/us-east/a,b%3A.yaml\n- 1\n"));
    let compiled = compile(&files);
    for (name, format) in Format::ALL {
        let shown = render(format, &compiled.diagnostics, &Sources::of(&files), Colour::Never);
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(format!("format_{name}"), shown);
        });
    }
    let coloured = render(Format::Text, &compiled.diagnostics, &Sources::of(&files), Colour::Always);
    assert!(coloured.contains('\u{1b}'));
}

#[test]
fn no_rendering_lets_a_control_character_through() {
    let text = cases().find(|(name, _)| *name == "hostile_text").unwrap().1;
    let hostile = format!("{text}--- queues/a\u{1b}[2J\u{202e}.yaml\nkind: \"\\x1b]0;x\\x07\"\n");
    let files = over_base(&hostile);
    let compiled = compile(&files);
    assert!(compiled.diagnostics.iter().filter(|d| d.severity == Severity::Error).count() >= 2);
    for (name, format) in Format::ALL {
        let shown = render(format, &compiled.diagnostics, &Sources::of(&files), Colour::Never);
        let bad: Vec<char> =
            shown.chars().filter(|c| c.is_control() && *c != '\n' || matches!(c, '\u{202a}'..='\u{202e}')).collect();
        assert_eq!(bad, Vec::<char>::new(), "{name}");
    }
}
