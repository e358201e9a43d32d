//! Every fixture with pieces cut out, doubled and overwritten: a catalog or diagnostics, never a panic.
//!
//! The fuzz target of `fuzz/` goes further; this is what runs with every test.

use tidegate::domain::compile::report::{Colour, Format, Sources, render};
use tidegate::domain::compile::{Depth, check_alone, compile};
use tidegate::domain::files::FileContent;

use crate::repo::over_base;

/// How many variants of the fixtures are tried.
const ROUNDS: usize = 1500;
/// What is written over the text: everything that means something to YAML, to templates or to terminals.
const PIECES: [&str; 28] = [
    ":",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "<<: ",
    "? ",
    "|\n",
    "\n",
    "\t",
    "\"",
    "'",
    "#",
    "!x ",
    "{{ x }}",
    "~",
    "-1",
    "1e9",
    "\u{feff}",
    "\u{1b}[31m",
    "\u{202e}",
    "ä",
    "---\n",
    "null",
    "  ",
];

#[test]
fn no_text_makes_the_compiler_panic() {
    let fixtures: Vec<&str> = include_str!("problems.txt").split("=== ").skip(1).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below.max(1) as u64).unwrap()
    };
    for round in 0..ROUNDS {
        let mut set = over_base(fixtures[round % fixtures.len()].split_once('\n').unwrap().1);
        let chosen = random(set.files.len());
        let FileContent::Text(bytes) = &mut set.files[chosen].content else { continue };
        for _ in 0..=random(4) {
            let (a, b) = (random(bytes.len() + 1), random(bytes.len() + 1));
            let (from, to) = (a.min(b), a.max(b).min(a.min(b) + 12));
            match random(4) {
                0 => drop(bytes.drain(from..to)),
                1 => {
                    let copy = bytes[from..to].to_vec();
                    bytes.splice(from..from, copy);
                }
                2 => bytes.truncate(a),
                _ => drop(bytes.splice(from..from, PIECES[random(PIECES.len())].bytes())),
            }
        }
        let text = bytes.clone();
        let compiled = compile(&set);
        assert!(compiled.catalog.is_some() || compiled.diagnostics.errors() > 0, "round {round}");
        for (_, format) in Format::ALL {
            render(format, &compiled.diagnostics, &Sources::of(&set), Colour::Never);
        }
        check_alone("polyaxonfile.yaml", &text, Depth::Params);
    }
}
