//! Builds: the image of a run is made first, once, by a run of its own. What builds runs here on the local agent; what
//! is built for goes to an agent whose cluster is not there, so that it can be looked at before it starts.

use std::collections::BTreeMap;

use tidegate::control::{Again, StartRequest, StartSource};
use tidegate::domain::catalog::CompiledOperation;
use tidegate::domain::dispatch::command::Command;
use tidegate::domain::dispatch::event::Origin;
use tidegate::domain::dispatch::history::RunRow;
use tidegate::domain::dispatch::status::Status;
use tidegate::domain::dispatch::{Blocker, explain};

use crate::{Server, Site, begun, ended, named, push, status};

/// Writes a line for each image that is built, and waits to be let go on.
const BUILDER: &str = r#"version: 1.1
kind: component
name: builder
inputs: [{name: context, type: str, isOptional: true}]
outputs: [{name: destination, type: image}]
run:
  kind: job
  container:
    command: [sh, -ec]
    args:
      - |
        echo "{{ destination }} {{ context }} $TIDEGATE_RUN" >> DIR/built
        while [ ! -e DIR/go ]; do sleep 0.02; done
        test ! -e DIR/fail
"#;

/// An operation on the far agent that is built by the local one; `more` stands beside `build`.
fn operation(more: &str) -> String {
    format!(
        "queue: far/default\nbuild: {{hubRef: builder, queue: here/fast, params: {{context: {{value: \"{{{{ what }}}}\"}}}}}}\n{more}\ncomponent:\n  inputs: [{{name: what, type: str, value: stuff}}, {{name: n, type: int, value: 0}}]\n  run: {{kind: job, container: {{image: \"old:1\", command: [train]}}}}\n"
    )
}

fn site() -> (Site, Server) {
    let (site, server) = begun();
    site.write("components/builder.yaml", &BUILDER.replace("DIR", &site.path().display().to_string()));
    let kubeconfig = site.path().join("nothing.yaml");
    let agent = format!(
        "version: 1.1\nkind: agent\nname: far\nkubernetes: {{kubeconfig: \"file:{}\"}}\n",
        kubeconfig.display()
    );
    site.write("agents/far.yaml", &agent);
    (site, server)
}

fn let_go(site: &Site) {
    std::fs::write(site.path().join("go"), "").unwrap();
}

fn built(site: &Site) -> Vec<String> {
    let text = std::fs::read_to_string(site.path().join("built")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The runs that have built or build for a run, oldest first.
fn builds(server: &Server, of: &RunRow) -> Vec<RunRow> {
    let mut builds: Vec<RunRow> =
        server.runs().into_iter().filter(|run| run.origin == Origin::Build { of: of.id }).collect();
    builds.sort_by_key(|run| run.seq);
    builds
}

/// Waits until a run is being built for, and gives its build.
fn building(server: &Server, name: &str) -> (RunRow, RunRow) {
    let running = |server: &Server| {
        let run = named(server, name)?;
        let build = builds(server, &run).pop().filter(|build| build.status == Status::Running)?;
        Some((run, build))
    };
    server.until(&format!("{name} is built"), |server| running(server).is_some());
    running(server).unwrap()
}

fn pinned(server: &Server, run: &RunRow) -> CompiledOperation {
    serde_json::from_slice(&server.0.engine().history().body(run.spec).unwrap().unwrap()).unwrap()
}

fn image(server: &Server, run: &RunRow) -> String {
    pinned(server, run).run["container"]["image"].as_str().unwrap().to_owned()
}

fn blocker(server: &Server, run: &RunRow) -> Blocker {
    server.0.engine().read(|state| explain(state, run.id)).unwrap()
}

#[test]
fn a_run_waits_for_its_build_and_goes_on_with_what_was_built() {
    let (site, server) = site();
    push(&site, "works", &operation("isApproved: false"));
    let (run, build) = building(&server, "works");
    assert_eq!((run.status, &build.name[..]), (Status::Created, "works-build"));
    assert!(run.cause.as_ref().unwrap().message.contains(&build.id.to_string()), "{run:#?}");
    assert_eq!(blocker(&server, &run), Blocker::Build { run: build.id });
    let approve = |by: &str| Command::Approve { run: run.id, by: by.to_owned() };
    let early = server.0.engine().ask_blocking(approve("ann"), Vec::new()).unwrap();
    assert!(matches!(early, tidegate::domain::dispatch::command::Outcome::Refused(_)), "it is asked after the build");
    let_go(&site);
    server.until("it is to be approved", |server| blocker(server, &run) == Blocker::Approval);
    server.0.engine().ask_blocking(approve("ann"), Vec::new()).unwrap();
    server.until("it stands in its queue", |server| status(server, "works") == Some(Status::Queued));
    let run = named(&server, "works").unwrap();
    let tag = format!("p:{}", build.id);
    assert_eq!((image(&server, &run), pinned(&server, &run).build), (tag.clone(), None));
    assert_eq!(built(&site), [format!("{tag} stuff {}", build.id)], "its templates know the inputs of the run");

    // What is run again has its image.
    server.0.engine().ask_blocking(Command::Stop { run: run.id, by: "ann".to_owned() }, Vec::new()).unwrap();
    let source = StartSource::Run { run: run.id, how: Again::Restart };
    let (project, params) = Default::default();
    let request = StartRequest { id: None, project, source, params, queue: None, name: None, presets: Vec::new() };
    let again = tokio::runtime::Runtime::new().unwrap().block_on(server.0.start_run(request, "ann")).unwrap();
    let again = server.runs().into_iter().find(|run| run.id == again).unwrap();
    assert_eq!((image(&server, &again), builds(&server, &again).len(), built(&site).len()), (tag, 0, 1));
}

#[test]
fn a_run_ends_as_its_build_does_and_its_build_with_it() {
    let (site, server) = site();
    std::fs::write(site.path().join("fail"), "").unwrap();
    for name in ["fails", "stopped", "cancelled"] {
        push(&site, name, &operation(""));
    }
    let stop = |run: &RunRow| {
        let stop = Command::Stop { run: run.id, by: "ann".to_owned() };
        server.0.engine().ask_blocking(stop, Vec::new()).unwrap();
    };
    let (run, build) = building(&server, "stopped");
    stop(&run);
    assert_eq!(ended(&server, "stopped").status, Status::Stopped);
    server.until("its build has stopped", |server| builds(server, &run)[0].status == Status::Stopped);
    assert_eq!(builds(&server, &run)[0].id, build.id);

    let (run, build) = building(&server, "cancelled");
    stop(&build);
    let run = ended(&server, &run.name);
    assert_eq!(run.status, Status::Stopped);
    assert!(run.cause.unwrap().message.contains(&build.id.to_string()));

    building(&server, "fails");
    let_go(&site);
    let run = ended(&server, "fails");
    let cause = run.cause.clone().unwrap();
    let first = builds(&server, &run).remove(0);
    assert_eq!((run.status, &cause.reason[..]), (Status::Failed, "BuildNotSucceeded"));
    assert!(cause.message.contains(&first.id.to_string()), "{cause:?}");

    // Nothing was built: who goes on with it builds.
    std::fs::remove_file(site.path().join("fail")).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(server.0.resume_run(run.id, "ann")).unwrap();
    server.until("it stands in its queue", |server| status(server, "fails") == Some(Status::Queued));
    let second = builds(&server, &run).remove(1);
    assert_eq!(image(&server, &named(&server, "fails").unwrap()), format!("p:{}", second.id));
}

#[test]
fn operations_of_graphs_and_matrices_are_built_once_whatever_dies_in_between() {
    let (site, server) = site();
    push(&site, "search", &operation("matrix: {kind: mapping, values: [{n: 1}, {n: 2}, {n: 3}]}"));
    let node = operation("").replace('\n', "\n        ");
    let graph = format!(
        "component:\n  run:\n    kind: dag\n    operations:\n      - name: first\n        {node}\n      - name: second\n        {node}\n"
    );
    push(&site, "graph", &graph);
    server.until("all three build", |_| built(&site).len() == 3);
    drop(server);
    for go in [false, false, true, true, true] {
        if go {
            let_go(&site);
        }
        let server = site.start();
        std::thread::sleep(std::time::Duration::from_millis(80));
        drop(server);
    }
    let server = site.start();
    let queued = |server: &Server| {
        let runs = server.runs().into_iter().filter(|run| run.parent.is_some() && run.status == Status::Queued);
        runs.collect::<Vec<RunRow>>()
    };
    server.until("all five stand in their queue", |server| queued(server).len() == 5);
    let all = server.runs();
    let builds: Vec<&RunRow> = all.iter().filter(|run| matches!(run.origin, Origin::Build { .. })).collect();
    assert!(builds.len() == 3 && builds.iter().all(|build| build.status == Status::Succeeded), "{builds:#?}");
    assert_eq!(built(&site).len(), 3);
    for run in queued(&server) {
        // The matrix was built for, its runs are made of that; each operation of the graph is built for itself.
        let of = if run.name.starts_with("search") { run.parent.unwrap() } else { run.id };
        let build = builds.iter().find(|build| build.origin == Origin::Build { of }).unwrap();
        assert_eq!(image(&server, &run), format!("p:{}", build.id), "{}", run.name);
    }

    // What goes on has its images.
    let graph = named(&server, "graph").unwrap();
    let images = |server: &Server| {
        let of_graph = queued(server).into_iter().filter(|run| run.parent == Some(graph.id));
        of_graph.map(|run| (run.name.clone(), image(server, &run))).collect::<BTreeMap<String, String>>()
    };
    let before = images(&server);
    server.0.engine().ask_blocking(Command::Stop { run: graph.id, by: "ann".to_owned() }, Vec::new()).unwrap();
    server.until("it has stopped", |server| status(server, "graph") == Some(Status::Stopped));
    tokio::runtime::Runtime::new().unwrap().block_on(server.0.resume_run(graph.id, "ann")).unwrap();
    server.until("both stand in their queue again", |server| images(server).len() == 2);
    assert_eq!((images(&server), built(&site).len()), (before, 3));
}

#[test]
fn an_image_that_is_in_the_cache_is_not_built_again() {
    let (site, server) = site();
    let_go(&site);
    let cached = |what: &str| {
        let operation = operation("").replace("build: {", "build: {cache: {io: [context]}, ");
        operation.replace("value: stuff", &format!("value: {what}"))
    };
    for (name, what) in [("first", "stuff"), ("second", "stuff"), ("other", "else")] {
        push(&site, name, &cached(what));
        server.until("it stands in its queue", |server| status(server, name) == Some(Status::Queued));
    }
    let [first, second, other] = ["first", "second", "other"].map(|name| named(&server, name).unwrap());
    let taken = builds(&server, &second).remove(0);
    assert_eq!((taken.status, &taken.cause.unwrap().reason[..]), (Status::Succeeded, "CacheHit"));
    assert_eq!(image(&server, &second), image(&server, &first), "it is called as it was when it was built");
    assert_ne!(image(&server, &other), image(&server, &first), "what the templates speak of counts");
    assert_eq!(built(&site).len(), 2);
}
