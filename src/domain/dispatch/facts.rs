//! What a query may ask of a row of history.

use std::borrow::Cow;

use super::event::Origin;
use super::history::RunRow;
use crate::domain::ids::RunId;
use crate::domain::query::{Fact, Facts, Field};
use crate::domain::time::Timestamp;

impl Facts for RunRow {
    fn fact(&self, field: &Field) -> Fact<'_> {
        let moment = |at: Option<Timestamp>| whole(at.map(|at| at.0));
        let id = |id: Option<RunId>| id.map_or(Fact::Nil, |id| Fact::Text(id.to_string().into()));
        match field {
            Field::Uuid => id(Some(self.id)),
            Field::Pipeline => id(self.parent),
            Field::Original => id(match &self.origin {
                Origin::Restart { of, .. } | Origin::Copy { of, .. } => Some(*of),
                _ => None,
            }),
            Field::Name => text(&self.name),
            Field::Project => text(self.project.as_str()),
            Field::Workflow => self.workflow.as_ref().map_or(Fact::Nil, |name| text(name.as_str())),
            Field::Kind => text(&self.kind),
            Field::Status => text(self.status.word()),
            Field::Reason => self.cause.as_ref().map_or(Fact::Nil, |cause| text(&cause.reason)),
            Field::Commit => self.commit.as_ref().map_or(Fact::Nil, |commit| text(commit.as_str())),
            Field::Queue => Fact::Text(self.queue.to_string().into()),
            Field::Agent => text(self.queue.agent.as_str()),
            Field::User => match &self.origin {
                Origin::Request { user } | Origin::Restart { user, .. } | Origin::Copy { user, .. } => text(user),
                _ => Fact::Nil,
            },
            Field::CloningKind => match &self.origin {
                Origin::Restart { .. } => text("restart"),
                Origin::Copy { .. } => text("copy"),
                _ => Fact::Nil,
            },
            Field::Tags => Fact::Texts(&self.tags),
            Field::CreatedAt => moment(Some(self.created_at)),
            Field::ScheduleAt => moment(match &self.origin {
                Origin::Schedule { at } => Some(*at),
                _ => None,
            }),
            Field::QueuedAt => moment(self.queued_at),
            Field::StartedAt => moment(self.started_at),
            Field::FinishedAt => moment(self.finished_at),
            Field::UpdatedAt => {
                let later = [self.queued_at, self.started_at, self.finished_at].into_iter().flatten();
                moment(later.chain([self.created_at]).max())
            }
            Field::Duration => {
                whole(self.finished_at.zip(self.started_at).map(|(end, start)| end.0.saturating_sub(start.0)))
            }
            Field::WaitTime => whole(self.started_at.map(|start| start.0.saturating_sub(self.created_at.0))),
            Field::Attempt => Fact::Whole(i64::from(self.attempt.0)),
            Field::ExitCode => whole(self.exit_code.map(i64::from)),
            Field::Amount(name) => {
                let amount = self.request.0.get(name);
                whole(amount.and_then(|amount| i64::try_from(amount.millis()).ok()))
            }
            Field::Input(name) => self.inputs.get(name).map_or(Fact::Nil, Fact::Value),
            Field::Output(name) => self.outputs.get(name).map_or(Fact::Nil, Fact::Value),
        }
    }
}

fn text(text: &str) -> Fact<'_> {
    Fact::Text(Cow::Borrowed(text))
}

fn whole<'a>(number: Option<i64>) -> Fact<'a> {
    number.map_or(Fact::Nil, Fact::Whole)
}
