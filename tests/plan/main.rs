//! The plan from outside: scenarios of git, effects on live work, every rendering, and what no rendering may show.
// Helpers outside of a test function are not known as tests to clippy.
#![allow(clippy::unwrap_used)]

mod effects;
mod properties;
mod renderings;
mod scenarios;
mod world;

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate::domain::catalog::{Catalog, PushTrigger, ResolvedWorkflow};
use tidegate::domain::diagnostic::{Code, Diagnostic, Diagnostics, Place};
use tidegate::domain::ids::{AgentName, CommitId, Digest, Name, ProjectName, QueueName, RunId, WorkflowName};
use tidegate::domain::plan::build::{Builder, org, resources};
use tidegate::domain::plan::model::{Action, GuardId, Hold, Rank, Reversibility, SkipReason};
use tidegate::domain::plan::render::schema;
use tidegate::domain::plan::{
    Admissions, Format, Live, LiveAgent, LiveOrganization, LiveQueue, LiveRun, Mood, Overrides, Plan, PlanExit,
    PlanInput, Revision, SourceRef, Standing, Style, WorkflowUse, overrides, plan, render,
};
use tidegate::domain::quantity::Resources;
use tidegate::domain::spec::{Fires, FirstSync, Freeze, Limit, OnRemove, Priority, Schedule, WorkflowOnRemove};
use tidegate::domain::time::{Duration, Timestamp};
use world::*;
