//! Verdicts: what the original accepts we accept, what it refuses we refuse.

use tidegate::domain::compile::Depth;

use crate::data::{compiled, compiled_text, errors, folder, records, text};
use crate::rates::Rates;

/// Cases on which we differ on purpose; the README's table says why.
const DELIBERATE: [&str; 1] = [
    // A crontab line that cannot be read is an error here, and no surprise at two in the morning.
    "schedule-247",
];

/// How far a file is checked, by the word of the original for it.
pub const DEPTHS: [(Depth, &str); 2] = [(Depth::Shape, "lint"), (Depth::Params, "check")];

#[test]
fn files_of_users_get_the_original_verdict() {
    let Some(folder) = folder("files_of_users_get_the_original_verdict") else { return };
    let mut rates = Rates::default();
    for record in records(&folder.join("verdicts.jsonl")) {
        let file = text(&record, "file");
        for (depth, word) in DEPTHS {
            let verdict = text(&record, &format!("{word}_2_16_4"));
            if verdict == "unresolved" {
                continue;
            }
            let alone = compiled(&folder, &folder.join("open").join(file), depth);
            let ours = alone.diagnostics.errors() == 0;
            rates.add(word, verdict == "valid", ours, DELIBERATE.contains(&file), || {
                format!("{file} is {verdict} ({}); we say {}", text(&record, "error_2_16_4"), errors(&alone))
            });
        }
    }
    rates.finish("files");
}

#[test]
fn cases_of_single_rules_get_the_original_verdict() {
    let Some(folder) = folder("cases_of_single_rules_get_the_original_verdict") else { return };
    let mut rates = Rates::default();
    for record in records(&folder.join("expectations.jsonl")) {
        let (id, group) = (text(&record, "id"), text(&record, "group"));
        // What only the shortcut dialect has was put to the version that has it.
        let version = if group == "new-2.18" { "2_18_0" } else { "2_16_4" };
        for (depth, word) in DEPTHS {
            let verdict = text(&record, &format!("{word}_{version}"));
            let alone = compiled_text(text(&record, "yaml"), depth);
            let ours = alone.diagnostics.errors() == 0;
            rates.add(&format!("{group} {word}"), verdict == "valid", ours, DELIBERATE.contains(&id), || {
                let why = text(&record, &format!("error_{version}")).chars().take(120).collect::<String>();
                format!("{id} ({}) is {verdict} ({why}); we say {}", text(&record, "why"), errors(&alone))
            });
        }
    }
    rates.finish("cases of single rules");
}
