//! A table of how often two sides agree, by group; and the cases where they do not.

use std::collections::BTreeMap;

/// Counts by group, and the disagreements that nobody has excused.
#[derive(Default)]
pub struct Rates {
    groups: BTreeMap<String, [u32; 4]>,
    wrong: Vec<String>,
}

impl Rates {
    /// Counts a case. `valid` is what the original says, `ours` what we say.
    pub fn add(&mut self, group: &str, valid: bool, ours: bool, excused: bool, why: impl FnOnce() -> String) {
        let counts = self.groups.entry(group.to_owned()).or_default();
        let at = if valid { 0 } else { 2 };
        counts[at] += u32::from(valid == ours);
        counts[at + 1] += 1;
        if valid != ours && !excused {
            self.wrong.push(format!("{group}: {}", why()));
        }
    }

    /// Prints the table, and fails when something is not excused.
    pub fn finish(self, title: &str) {
        let mut all = [0; 4];
        println!("{title:32} {:>12} {:>12}", "valid", "invalid");
        for (group, counts) in &self.groups {
            println!("  {group:30} {:>5} of {:>3} {:>5} of {:>3}", counts[0], counts[1], counts[2], counts[3]);
            (0..4).for_each(|i| all[i] += counts[i]);
        }
        println!("  {:30} {:>5} of {:>3} {:>5} of {:>3}", "all", all[0], all[1], all[2], all[3]);
        assert!(self.wrong.is_empty(), "{} disagreements\n{}", self.wrong.len(), self.wrong.join("\n"));
    }
}
