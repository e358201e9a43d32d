//! Repositories of specs written in one text: `--- path` begins a file, `!word` stands for what is no text.

use std::collections::BTreeMap;

use tidegate::domain::files::{FileContent, FileSet, SourceFile, TreePath};
use tidegate::domain::ids::{CommitId, Digest};
use tidegate::domain::time::Timestamp;

pub const BASE: &str = include_str!("base.txt");

/// The files of a text, over those of the base.
pub fn over_base(text: &str) -> FileSet {
    let mut files = parse(BASE);
    files.extend(parse(text));
    set(files)
}

/// The files of a text alone.
pub fn alone(text: &str) -> FileSet {
    set(parse(text))
}

fn parse(text: &str) -> BTreeMap<String, Option<FileContent>> {
    let mut files = BTreeMap::new();
    for part in text.split("--- ").skip(1) {
        // A document separator is `---` alone, so it is no beginning of a file.
        let (path, content) = part.split_once('\n').unwrap_or((part, ""));
        files.insert(path.to_owned(), content_of(content));
    }
    files
}

fn content_of(text: &str) -> Option<FileContent> {
    Some(match text.trim() {
        "!remove" => return None,
        "!symlink" => FileContent::Symlink,
        "!submodule" => FileContent::Submodule,
        "!lfs" => FileContent::LfsPointer,
        "!badname" => FileContent::BadName,
        "!large" => FileContent::TooLarge { bytes: 5 << 20 },
        "!bytes" => FileContent::Text(b"name: caf\xe9\n".to_vec()),
        _ => FileContent::Text(text.as_bytes().to_vec()),
    })
}

fn set(files: BTreeMap<String, Option<FileContent>>) -> FileSet {
    let files: Vec<SourceFile> =
        files.into_iter().filter_map(|(path, content)| Some(SourceFile { path, content: content? })).collect();
    let id = |file: &SourceFile| Digest::of(format!("{:?}", file.content).as_bytes()).short();
    let tree = files.iter().map(|file| TreePath { path: file.path.clone(), id: id(file) }).collect();
    FileSet {
        commit: CommitId::new("worktree"),
        message: String::new(),
        author: String::new(),
        time: Timestamp::default(),
        files,
        tree,
    }
}
