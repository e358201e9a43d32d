//! Cases from outside: any texts with the original's verdicts, as many as there are, and how often we agree by group.
//!
//! `TIDEGATE_AGREEMENT_CASES` names a file of JSON lines: `id`, `group`, `yaml`, and the original's `lint` and `check`
//! (`valid` or `invalid`; anything else is passed over) with its `error`. Copies of what they refer to lie in the
//! folder of the recorded data.

use std::path::Path;

use tidegate::domain::compile::{Asked, Reference, compile_alone};
use tidegate::domain::files::{FileContent, SourceFile};

use crate::data::{errors, folder, records, text};
use crate::rates::Rates;
use crate::verdicts::DEPTHS;

#[test]
fn cases_from_outside_get_the_original_verdict() {
    let Some(cases) = std::env::var_os("TIDEGATE_AGREEMENT_CASES") else {
        eprintln!("left out: cases_from_outside_get_the_original_verdict (set TIDEGATE_AGREEMENT_CASES)");
        return;
    };
    let Some(folder) = folder("cases_from_outside_get_the_original_verdict") else { return };
    let refs = folder.join("open/_refs");
    let read = |reference: Reference<'_>| match reference {
        Reference::File(_) => None,
        Reference::Copy(path) => std::fs::read(refs.join(path)).ok().map(FileContent::Text),
    };
    let mut rates = Rates::default();
    for case in records(Path::new(&cases)) {
        for (depth, word) in DEPTHS {
            let verdict = text(&case, word);
            if !["valid", "invalid"].contains(&verdict) {
                continue;
            }
            let content = FileContent::Text(text(&case, "yaml").into());
            let file = SourceFile { path: "polyaxonfile.yaml".into(), content };
            let alone = compile_alone(file, &Asked::default(), depth, true, &read);
            let ours = alone.diagnostics.errors() == 0;
            rates.add(&format!("{} {word}", text(&case, "group")), verdict == "valid", ours, false, || {
                let why: String = text(&case, "error").chars().take(200).collect();
                format!("{} is {verdict} ({why:?}); we say {:?}", text(&case, "id"), errors(&alone))
            });
        }
    }
    rates.finish("cases from outside");
}
