//! What a commit message says about its own sync: `Runs: skip`, `Allow-Starts: N`, `Allow-Removals: N`, `[skip runs]`.

use serde::{Deserialize, Serialize};

/// What overrides the usual course of a sync; from the commit message, or from somebody who approves a held plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overrides {
    /// The words that ask to start nothing, if there are.
    pub skip_runs: Option<SkipWords>,
    /// Most starts that are allowed, instead of `sync.maxStarts`.
    pub allow_starts: Option<u32>,
    /// Most removals that are allowed, instead of `sync.maxRemovals`.
    pub allow_removals: Option<u32>,
}

/// How a commit message asks to start nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SkipWords {
    /// The trailer `Runs: skip`.
    Trailer,
    /// `[skip runs]` anywhere.
    Brackets,
}

impl SkipWords {
    /// The words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Trailer => "trailer \"Runs: skip\"",
            Self::Brackets => "\"[skip runs]\"",
        }
    }
}

/// Reads the trailers of a commit message: as in git, the last paragraph, when it is not the title.
pub fn overrides(message: &str) -> Overrides {
    let mut found = Overrides::default();
    if message.to_ascii_lowercase().contains("[skip runs]") {
        found.skip_runs = Some(SkipWords::Brackets);
    }
    let lines: Vec<&str> = message.trim_end().lines().collect();
    let Some(start) = lines.iter().rposition(|line| line.trim().is_empty()) else { return found };
    for line in &lines[start + 1..] {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "runs" if value.eq_ignore_ascii_case("skip") => found.skip_runs = Some(SkipWords::Trailer),
            "allow-starts" => found.allow_starts = value.parse().ok().or(found.allow_starts),
            "allow-removals" => found.allow_removals = value.parse().ok().or(found.allow_removals),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_stand_in_the_last_paragraph() {
        let read = overrides("Retune\n\nWhy: because.\n\nruns: Skip\nAllow-Starts: 137\nAllow-Removals: 4\n\n");
        assert_eq!(read.skip_runs, Some(SkipWords::Trailer));
        assert_eq!((read.allow_starts, read.allow_removals), (Some(137), Some(4)));
    }

    #[test]
    fn what_is_no_trailer_overrides_nothing() {
        for message in
            ["", "Runs: skip", "Title\n\nRuns: skip\n\nmore text", "Title\n\nAllow-Starts: -1", "Runs:\n\nskip"]
        {
            assert_eq!(overrides(message), Overrides::default(), "{message:?}");
        }
        assert_eq!(overrides("Title [Skip Runs]").skip_runs, Some(SkipWords::Brackets));
    }
}
