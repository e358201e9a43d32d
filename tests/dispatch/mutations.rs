//! The list of faults that the random histories must find is kept in step with the code; `mutate` tries them out.

/// Fewest that the list holds.
const FEWEST: usize = 45;

struct Mutation<'a> {
    name: &'a str,
    file: &'a str,
    from: String,
    to: String,
}

fn all(text: &str) -> Vec<Mutation<'_>> {
    let parts = text.split("\n== ").skip(1);
    let part = |part: &'static str, lines: &[&str]| {
        let marked = lines.iter().filter_map(|line| line.strip_prefix(part)).collect::<Vec<_>>();
        marked.join("\n")
    };
    let read = |text| {
        let lines: Vec<&str> = str::lines(text).collect();
        Mutation { name: lines[0], file: lines[1], from: part("- ", &lines), to: part("+ ", &lines) }
    };
    parts.map(read).collect()
}

#[test]
fn every_mutation_of_the_list_applies_to_one_place() {
    let mutations = all(include_str!("mutations.txt"));
    assert!(mutations.len() >= FEWEST, "{}", mutations.len());
    for Mutation { name, file, from, to } in mutations {
        let text = std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert_eq!(text.matches(&from).count(), 1, "{name}: this stands once in {file}:\n{from}");
        assert_ne!(from, to, "{name}");
    }
}
