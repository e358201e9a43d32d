//! Files on their way to a plan, and the plan on its way back.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DiagnosticView;

/// Files to compare with what is applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanBody {
    /// What the files are called: a commit, or `worktree`.
    #[serde(default = "worktree")]
    pub commit: String,
    /// The commit message, which may override guards.
    #[serde(default)]
    pub message: String,
    /// The files that may hold specs.
    pub files: Vec<WireFile>,
    /// All files with the ids of their contents, for workflows that watch `paths`.
    #[serde(default)]
    pub tree: Vec<WirePath>,
    /// The formats that are wanted: text, json, jsonl, markdown, github, patch, summary.
    #[serde(default = "text_only")]
    pub formats: Vec<String>,
    /// Columns of the text.
    #[serde(default = "hundred")]
    pub width: usize,
    /// Whether to colour the text.
    #[serde(default)]
    pub colour: bool,
}

fn worktree() -> String {
    "worktree".to_owned()
}

fn text_only() -> Vec<String> {
    vec!["text".to_owned()]
}

fn hundred() -> usize {
    100
}

/// A file that may hold specs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WireFile {
    /// Its path from the root.
    pub path: String,
    /// What stands there.
    #[serde(flatten)]
    pub content: WireContent,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WireContent {
    /// A file.
    Text(String),
    /// Something that is no text; nobody looks into it.
    Special(Special),
    /// A file that is too large to be read, with its size.
    TooLarge(u64),
}

/// What is not text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Special {
    /// Bytes that are not UTF-8.
    Binary,
    /// A symbolic link.
    Symlink,
    /// Another repository.
    Submodule,
    /// A pointer to a file in Git LFS.
    LfsPointer,
    /// A name that must not be used as a path.
    BadName,
}

view! {
    /// A file by the id of its contents.
    WirePath {
        /// Its path from the root.
        path: String,
        /// Equal ids mean equal contents.
        id: String,
    }
}

view! {
    /// What applying files would do.
    PlanView {
        /// 0 nothing differs, 2 something does, 3 files have errors, 4 a guard blocks, 5 the server was not complete.
        exit_code: u8,
        /// The digest of the plan; absent when the policy has errors.
        digest: Option<String>,
        /// The plan in each format that was asked for.
        outputs: IndexMap<String, String>,
        /// Problems of the files.
        diagnostics: Vec<DiagnosticView>,
    }
}
