//! The git side: how it stands, what it did, what it shall do, and what a change would do.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Api;
use super::error::ApiError;
use super::extract::{Body, Params};
use super::forecast;
use super::views::*;
use crate::domain::dispatch::history::MAX_PAGE;
use crate::domain::files::{FileContent, FileSet, SourceFile, TreePath};
use crate::domain::ids::{CommitId, Digest, Seq};
use crate::domain::plan::{Format, Mood, Plan, PlanExit, Style, render};
use crate::engine::wall_clock;

/// Applied commits of an answer when nobody says how many.
const SYNCS: usize = 20;

/// Which applied commits are wanted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// Most of them; 20 when absent, at most 1000.
    limit: Option<usize>,
    /// Those before this position in the log.
    before: Option<u64>,
}

pub(super) async fn status(State(api): State<Api>) -> Json<SyncView> {
    Json(api.control.sync_status().into())
}

pub(super) async fn history(
    State(api): State<Api>,
    Params(query): Params<HistoryQuery>,
) -> Result<Json<Vec<AppliedView>>, ApiError> {
    let limit = query.limit.unwrap_or(SYNCS).min(MAX_PAGE);
    let rows = api.history(move |history| history.syncs(query.before.map(Seq), limit)).await?;
    Ok(Json(rows.into_iter().map(Into::into).collect()))
}

pub(super) async fn problems(State(api): State<Api>) -> Json<Vec<DiagnosticView>> {
    Json(diagnostics(&api.control.diagnostics()))
}

pub(super) async fn last_plan(State(api): State<Api>) -> Result<Json<Plan>, ApiError> {
    let reading = tokio::task::spawn_blocking(move || api.control.last_plan());
    let plan = reading.await.map_err(|_| ApiError::internal("reading failed: the log of the server says more"))?;
    let plan = plan.map_err(|error| ApiError::internal(format!("the plan cannot be read: {error}")))?;
    plan.map(Json).ok_or_else(|| ApiError::not_found("nothing was planned yet"))
}

pub(super) async fn now(State(api): State<Api>) -> Json<SyncView> {
    api.control.sync_now();
    Json(api.control.sync_status().into())
}

pub(super) async fn pause(State(api): State<Api>) -> Json<SyncView> {
    api.control.set_paused(true);
    Json(api.control.sync_status().into())
}

/// Takes new commits again, and follows the branch if a revision was followed in its place.
pub(super) async fn resume(State(api): State<Api>) -> Result<Json<SyncView>, ApiError> {
    if api.control.sync_status().pinned.is_some() {
        api.control.rollback(None).await?;
    }
    api.control.set_paused(false);
    Ok(Json(api.control.sync_status().into()))
}

pub(super) async fn rollback(
    State(api): State<Api>,
    Body(body): Body<RollbackBody>,
) -> Result<Json<FollowView>, ApiError> {
    let commit = api.control.rollback(Some(body.revision)).await?;
    Ok(Json(FollowView { commit: commit.to_string() }))
}

pub(super) async fn approve(
    State(api): State<Api>,
    Body(body): Body<ApproveBody>,
) -> Result<Json<ApprovedView>, ApiError> {
    let plan = Digest::try_from(body.plan).map_err(ApiError::bad_request)?;
    let started = api.control.approve_plan(plan).await?;
    Ok(Json(ApprovedView { started }))
}

pub(super) async fn plan(State(api): State<Api>, Body(body): Body<PlanBody>) -> Result<Json<PlanView>, ApiError> {
    let mut formats = Vec::new();
    for name in &body.formats {
        let known = Format::ALL.into_iter().find(|(word, _)| word == name);
        let words = || Format::ALL.map(|(word, _)| word).join(", ");
        formats.push(
            known.ok_or_else(|| ApiError::bad_request(format!("there is no such format: use one of {}", words())))?,
        );
    }
    let style = Style { width: body.width.clamp(40, 1000), colour: body.colour, mood: Mood::DryRun };
    let control = api.control.clone();
    let work = move || {
        let (plan, problems) = control.plan(&file_set(body));
        let outputs = plan
            .iter()
            .flat_map(|plan| formats.iter().map(|(name, format)| ((*name).to_owned(), render(plan, *format, style))));
        PlanView {
            exit_code: plan.as_ref().map_or(exit_code(PlanExit::Invalid), |plan| exit_code(plan.exit_code)),
            digest: plan.as_ref().map(|plan| plan.digest.to_string()),
            outputs: outputs.collect(),
            diagnostics: diagnostics(&problems),
        }
    };
    let planned = tokio::task::spawn_blocking(work).await;
    planned.map(Json).map_err(|_| ApiError::internal("planning failed: the log of the server says more"))
}

/// What the policies of some files would do to those that wait.
pub(super) async fn what_if(State(api): State<Api>, Body(body): Body<PlanBody>) -> Result<Json<WhatIfView>, ApiError> {
    let control = api.control.clone();
    let work = tokio::task::spawn_blocking(move || control.policies(&file_set(body)));
    let (change, problems) =
        work.await.map_err(|_| ApiError::internal("compiling failed: the log of the server says more"))?;
    let change = change.ok_or_else(|| ApiError::invalid(&problems))?;
    Ok(Json(WhatIfView { diagnostics: diagnostics(&problems), ..forecast::what_if(&api, change).await? }))
}

/// The exit code of `diff` for a plan.
pub fn exit_code(exit: PlanExit) -> u8 {
    match exit {
        PlanExit::Unchanged => 0,
        PlanExit::Changes => 2,
        PlanExit::Invalid => 3,
        PlanExit::Blocked => 4,
        PlanExit::Incomplete => 5,
    }
}

fn file_set(body: PlanBody) -> FileSet {
    let content = |content| match content {
        WireContent::Text(text) => FileContent::Text(text.into_bytes()),
        // What the bytes were does not matter: the diagnostic only says that they are no text.
        WireContent::Special(Special::Binary) => FileContent::Text(vec![0xff]),
        WireContent::Special(Special::Symlink) => FileContent::Symlink,
        WireContent::Special(Special::Submodule) => FileContent::Submodule,
        WireContent::Special(Special::LfsPointer) => FileContent::LfsPointer,
        WireContent::Special(Special::BadName) => FileContent::BadName,
        WireContent::TooLarge(bytes) => FileContent::TooLarge { bytes },
    };
    let mut files: Vec<SourceFile> =
        body.files.into_iter().map(|file| SourceFile { path: file.path, content: content(file.content) }).collect();
    let mut tree: Vec<TreePath> =
        body.tree.into_iter().map(|entry| TreePath { path: entry.path, id: entry.id }).collect();
    // Both lists are promised to be sorted and without duplicates.
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup_by(|a, b| a.path == b.path);
    tree.sort_by(|a, b| a.path.cmp(&b.path));
    tree.dedup_by(|a, b| a.path == b.path);
    FileSet {
        commit: CommitId::new(&body.commit),
        message: body.message,
        author: String::new(),
        time: wall_clock(),
        files,
        tree,
    }
}

impl PlanBody {
    /// The files of a revision, to be compared with what a server has applied.
    pub fn of(files: &FileSet, formats: Vec<String>, width: usize, colour: bool) -> Self {
        let content = |content: &FileContent| match content {
            FileContent::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => WireContent::Text(text.to_owned()),
                Err(_) => WireContent::Special(Special::Binary),
            },
            FileContent::Symlink => WireContent::Special(Special::Symlink),
            FileContent::Submodule => WireContent::Special(Special::Submodule),
            FileContent::LfsPointer => WireContent::Special(Special::LfsPointer),
            FileContent::BadName => WireContent::Special(Special::BadName),
            FileContent::TooLarge { bytes } => WireContent::TooLarge(*bytes),
        };
        Self {
            commit: files.commit.to_string(),
            message: files.message.clone(),
            files: files
                .files
                .iter()
                .map(|file| WireFile { path: file.path.clone(), content: content(&file.content) })
                .collect(),
            tree: files.tree.iter().map(|entry| WirePath { path: entry.path.clone(), id: entry.id.clone() }).collect(),
            formats,
            width,
            colour,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_survive_the_wire() {
        let file = |path: &str, content| SourceFile { path: path.to_owned(), content };
        let files = FileSet {
            commit: CommitId::new("worktree"),
            message: "m".into(),
            author: String::new(),
            time: Default::default(),
            files: vec![
                file("a.yaml", FileContent::Text(b"a: 1".to_vec())),
                file("b", FileContent::Symlink),
                file("c", FileContent::TooLarge { bytes: 9 }),
                file("d", FileContent::Text(vec![0xff])),
            ],
            tree: vec![TreePath { path: "a.yaml".into(), id: "1".into() }],
        };
        let sent = serde_json::to_string(&PlanBody::of(&files, vec!["json".into()], 80, false)).unwrap();
        let back = file_set(serde_json::from_str(&sent).unwrap());
        assert_eq!(FileSet { time: files.time, ..back }, files);
        assert!(serde_json::from_str::<PlanBody>(r#"{"files": [{"path": "a", "txt": "x"}]}"#).is_err());
    }
}
