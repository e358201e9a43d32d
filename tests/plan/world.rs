//! What the tests of the plan stand on: a source that is followed, and servers with work.

use crate::*;

pub struct Followed {
    pub base: Option<Catalog>,
    pub admissions: Admissions,
    pub commits: usize,
    pub now: Timestamp,
    pub problems: Diagnostics,
    pub standing: Standing,
}

impl Followed {
    /// A source after its first sync.
    pub fn after(catalog: Builder) -> Self {
        let mut source = Self::unseen();
        assert_eq!(source.push(catalog, "first").admitted().count(), 0, "a first sync starts nothing");
        source
    }

    pub fn unseen() -> Self {
        Self {
            base: None,
            admissions: Admissions::default(),
            commits: 0,
            now: moment("2025-11-19T12:00:00Z"),
            problems: Diagnostics::default(),
            standing: Standing::Followed,
        }
    }

    pub fn look(&self, desired: &Catalog, message: &str) -> Plan {
        let info = revision(&format!("{:040x}", self.commits + 1), message);
        let source = SourceRef { id: "specs".into(), git_ref: "refs/heads/main".into() };
        plan(&PlanInput {
            source: &source,
            base: self.base.as_ref(),
            desired,
            base_info: None,
            desired_info: &info,
            live: None,
            between: &[],
            admissions: Some(&self.admissions),
            overrides: overrides(message),
            standing: self.standing,
            now: self.now,
            diagnostics: &self.problems,
        })
    }

    pub fn push(&mut self, desired: Builder, message: &str) -> Plan {
        let mut desired = desired.build();
        let plan = self.look(&desired, message);
        self.commits += 1;
        self.admissions.baseline = true;
        self.admissions.cursors.extend(plan.cursors.iter().cloned());
        // As the engine does: what is not sound keeps its last good definition.
        for name in desired.unsound.keys() {
            if let Some(last) = self.base.as_ref().and_then(|base| base.workflows.get(name)) {
                desired.workflows.insert(name.clone(), last.clone());
            }
        }
        desired.unsound.clear();
        self.base = Some(desired);
        plan
    }

    /// How many runs a push starts.
    pub fn starts(&mut self, desired: Builder) -> usize {
        self.push(desired, "change").admitted().count()
    }
}

pub fn moment(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

pub fn revision(commit: &str, message: &str) -> Revision {
    Revision {
        commit: CommitId::new(commit),
        label: "main".into(),
        dirty: Vec::new(),
        message: message.into(),
        time: None,
    }
}

pub fn edit(value: i64) -> impl Fn(&mut ResolvedWorkflow) {
    move |workflow| {
        workflow.operation.change(|operation| drop(operation.inputs.insert("epochs".into(), json!(value))));
    }
}

pub fn one() -> Builder {
    org().workflow("vision/train", edit(1))
}

pub fn reasons(plan: &Plan) -> Vec<SkipReason> {
    plan.skips.iter().map(|skip| skip.reason).collect()
}

pub fn many(count: usize, value: i64) -> Builder {
    (0..count).fold(org(), |all, i| all.workflow(&format!("vision/w{i:03}"), edit(value)))
}

pub fn idle(catalog: &Catalog) -> Live {
    let queue =
        |(name, queue): (&QueueName, &tidegate::domain::catalog::Declared<_>)| (name.clone(), empty(&queue.item));
    let agent =
        |(name, agent): (&AgentName, &tidegate::domain::catalog::Declared<tidegate::domain::catalog::AgentPolicy>)| {
            let live = LiveAgent { policy: agent.item.clone(), running: 0, used: Resources::default(), up: true };
            (name.clone(), live)
        };
    Live {
        queues: catalog.queues.iter().map(queue).collect(),
        agents: catalog.agents.iter().map(agent).collect(),
        organization: LiveOrganization { concurrency: catalog.organization.item.concurrency, running: 0 },
        workflows: BTreeMap::new(),
        complete: true,
        unread_agents: Vec::new(),
    }
}

pub fn empty(policy: &tidegate::domain::catalog::QueuePolicy) -> LiveQueue {
    LiveQueue {
        policy: policy.clone(),
        changed_by: None,
        running: 0,
        used: Resources::default(),
        queued: Vec::new(),
        queued_total: 0,
        draining: false,
    }
}

pub fn queue<'a>(live: &'a mut Live, name: &str) -> &'a mut LiveQueue {
    live.queues.get_mut(&QueueName::parse(name).unwrap()).unwrap()
}

pub fn wait(live: &mut Live, name: &str, count: u64, request: &Resources) {
    let workflow = WorkflowName::parse("vision/train").unwrap();
    let queue = queue(live, name);
    for _ in 0..count {
        queue.queued.push(LiveRun {
            run: RunId::parse(&format!("{:032x}", 0x7f21_0000_u64 + queue.queued_total)).unwrap(),
            name: "train".into(),
            workflow: Some(workflow.clone()),
            project: ProjectName::parse("vision").unwrap(),
            request: request.clone(),
            created_at: Timestamp(0),
        });
        queue.queued_total += 1;
    }
}

pub fn compare(base: &Catalog, desired: &Catalog, live: Option<&Live>) -> Plan {
    let problems = Diagnostics::default();
    plan(&PlanInput {
        source: &SourceRef { id: "specs".into(), git_ref: "refs/heads/main".into() },
        base: Some(base),
        desired,
        base_info: Some(&revision("41aa90e000000000000000000000000000000000", "")),
        desired_info: &Revision {
            dirty: vec!["queues/us/gpu.yaml".into()],
            label: "worktree".into(),
            ..revision("9f3c2d1000000000000000000000000000000000", "Make room for etl")
        },
        live,
        between: &[],
        admissions: None,
        overrides: Overrides::default(),
        standing: Standing::Followed,
        now: Timestamp(0),
        diagnostics: &problems,
    })
}

pub fn text(plan: &Plan) -> String {
    render(plan, Format::Text, Style::default())
}

pub fn gpus() -> Builder {
    org().queue("us/gpu", |q| q.concurrency = Limit::At(8)).workflow("vision/train", |w| {
        w.queue = QueueName::parse("us/gpu").unwrap();
    })
}
