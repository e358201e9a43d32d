//! Fetching: first the cheap question whether anything has moved, then one `git fetch` of one ref.

use std::path::Path;

use git2::{ErrorCode, Oid, Repository, RepositoryOpenFlags};

use super::super::Result;
use super::super::error::SourceError;
use super::super::reference::Ref;
use super::mirror::{FetchState, HEAD_REF, Mirror, tip};
use super::{Fetched, process, read};
use crate::domain::ids::CommitId;

/// After so many fetches, each of which leaves a pack, the mirror is packed anew: many packs make every read slower.
const TIDY_EVERY: u32 = 50;
/// Where all branches and tags land when a server does not hand out a single commit.
const ALL_REFS: [&str; 2] = ["+refs/heads/*:refs/tidegate/all/heads/*", "+refs/tags/*:refs/tidegate/all/tags/*"];

impl Mirror {
    pub(super) fn fetch_now(&self, state: &mut FetchState) -> Result<Fetched> {
        let before = tip(&self.repo()?);
        if let Some(id) = before
            && self.remote_tip()? == Some(id)
        {
            let commit = read::commit_id(read::peel(&self.repo()?, id)?);
            return Ok(Fetched { previous: Some(commit.clone()), commit, rewritten: false });
        }
        let fetched = self.bring();
        if fetched.is_err() {
            self.remove_leftovers();
        }
        match fetched {
            Err(SourceError::Other { detail, .. })
                if before.is_some() && blames_us(&detail) && state.may_remake(before) =>
            {
                self.make_again()?;
                self.bring()?;
            }
            fetched => fetched?,
        }
        state.fetches += 1;
        if state.fetches >= TIDY_EVERY {
            state.fetches = 0;
            self.tidy()?;
        }
        self.outcome(before)
    }

    /// What the mirror's ref says now, compared with before.
    fn outcome(&self, before: Option<Oid>) -> Result<Fetched> {
        let repo = self.repo()?;
        let missing = || SourceError::Empty { subject: self.spec.url.to_string() };
        let now = read::peel(&repo, tip(&repo).ok_or_else(missing)?)?;
        let before = before.and_then(|id| read::peel(&repo, id).ok());
        // A previous commit that cannot be walked to is as good as rewritten.
        let rewritten = before.is_some_and(|before| !read::is_ancestor(&repo, before, now).unwrap_or(false));
        Ok(Fetched { commit: read::commit_id(now), previous: before.map(read::commit_id), rewritten })
    }

    /// Where the followed ref stands at the other side, if that can be asked cheaply.
    fn remote_tip(&self) -> Result<Option<Oid>> {
        if let Ref::Commit(commit) = &self.spec.reference {
            return Ok(Oid::from_str(commit.as_str()).ok());
        }
        match self.spec.url.local_path() {
            Some(path) => self.local_tip(path),
            None => self.listed_tip(),
        }
    }

    /// Reads the ref of a repository on this machine without starting a process.
    fn local_tip(&self, path: &Path) -> Result<Option<Oid>> {
        let opened = Repository::open_ext(path, RepositoryOpenFlags::NO_SEARCH, &[] as &[&Path]);
        // A format that libgit2 does not know (reftable, SHA-256) is left to git itself.
        let Ok(repo) = opened else { return self.listed_tip() };
        match repo.find_reference(&self.spec.reference.full_name()).and_then(|found| found.resolve()) {
            Ok(found) => Ok(found.target()),
            Err(error) if error.code() == ErrorCode::NotFound => {
                let empty = repo.references().is_ok_and(|mut all| all.next().is_none());
                Err(self.absent(empty))
            }
            Err(_) => self.listed_tip(),
        }
    }

    /// Asks with `git ls-remote`.
    fn listed_tip(&self) -> Result<Option<Oid>> {
        let wanted = self.spec.reference.full_name();
        let output = self.ls_remote(&[&wanted])?;
        match process::listed(&output).find(|(name, _)| *name == wanted) {
            Some((_, id)) => Ok(Some(id)),
            None => Err(self.absent(self.ls_remote(&[])?.is_empty())),
        }
    }

    fn ls_remote(&self, patterns: &[&str]) -> Result<Vec<u8>> {
        let mut command = process::command(&self.options, &self.git_dir(), Some(&self.spec.url));
        command.args(["ls-remote", "--quiet", "--", &self.spec.url.operand()]).args(patterns);
        self.run(command)
    }

    fn absent(&self, empty: bool) -> SourceError {
        let subject = self.spec.url.to_string();
        if empty {
            SourceError::Empty { subject }
        } else {
            SourceError::NotFound {
                what: format!("{} of {subject}", self.spec.reference),
                detail: "the repository has other refs, but not this one".into(),
            }
        }
    }

    /// Gets the ref and all objects that it needs.
    fn bring(&self) -> Result<()> {
        let wanted = match &self.spec.reference {
            Ref::Commit(commit) => return self.bring_commit(commit),
            followed => followed.full_name(),
        };
        match self.git_fetch(&[&format!("+{wanted}:{HEAD_REF}")]) {
            // git does not tell an absent ref from an empty repository.
            Err(error @ SourceError::NotFound { .. }) => Err(self.remote_tip().err().unwrap_or(error)),
            fetched => fetched,
        }
    }

    /// Gets one commit: by its id, or from servers that refuse that, among all branches and tags.
    fn bring_commit(&self, commit: &CommitId) -> Result<()> {
        let id = Oid::from_str(commit.as_str()).map_err(SourceError::corrupt(commit))?;
        if read::peel(&self.repo()?, id).is_err() {
            match self.git_fetch(&[&format!("+{commit}:{HEAD_REF}")]) {
                Err(SourceError::NotFound { .. } | SourceError::Other { .. }) => self.git_fetch(&ALL_REFS)?,
                fetched => fetched?,
            }
        }
        let repo = self.repo()?;
        read::peel(&repo, id).map_err(|_| self.absent(repo.references().is_ok_and(|mut all| all.next().is_none())))?;
        repo.reference(HEAD_REF, id, true, "").map(drop).map_err(SourceError::corrupt(HEAD_REF))
    }

    fn git_fetch(&self, refspecs: &[&str]) -> Result<()> {
        let mut command = process::command(&self.options, &self.git_dir(), Some(&self.spec.url));
        // No `--prune`: the last head must outlive its branch.
        command
            .args(["fetch", "--quiet", "--no-progress", "--no-tags", "--no-recurse-submodules", "--force", "--atomic"])
            .args(["--no-write-fetch-head", "--no-auto-maintenance", "--no-show-forced-updates", "--no-prune"])
            .args(["--", &self.spec.url.operand()])
            .args(refspecs);
        self.run(command).map(drop)?;
        process::check_size(&self.git_dir(), self.options.size_limit, &self.spec.url.to_string())
    }

    /// Packs the mirror and drops what has been unreachable for two weeks; git decides whether it is time.
    fn tidy(&self) -> Result<()> {
        let mut command = process::command(&self.options, &self.git_dir(), None);
        command.args(["-c", "gc.auto=2000", "-c", "gc.autoPackLimit=40", "-c", "gc.autoDetach=false"]).args([
            "gc",
            "--auto",
            "--quiet",
            "--prune=2.weeks.ago",
        ]);
        self.run(command).map(drop)
    }

    fn run(&self, command: std::process::Command) -> Result<Vec<u8>> {
        process::run(command, &self.options, &self.git_dir(), &self.spec.url, &self.spec.reference.to_string())
    }
}

/// Whether git's complaint is about the objects that we already have.
fn blames_us(said: &str) -> bool {
    [
        "bad object",
        "unable to read",
        "is corrupt",
        "missing blob",
        "missing tree",
        "missing commit",
        "did not send all",
        "unresolved delta",
        "loose object",
        "packfile",
        "not a git repository",
    ]
    .iter()
    .any(|words| said.contains(words))
}
