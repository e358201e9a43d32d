//! Finer points of polyaxonfiles, at the depth where the original finds out: what a comparison of very many made-up files
//! with it brought to light.

use crate::verdicts::Verdict::{Params, Shape, Sound, Warned};
use crate::verdicts::{check, component, operation};

#[test]
fn entries_of_lists_are_values() {
    check(
        &[
            (Sound, "type: int, isList: true, value: [1, \"2\", true]"),
            (Shape, "type: int, isList: true, value: [\"1e3\"]"),
            (Shape, "type: int, isList: true, value: [\"{{ x }}\"]"),
            (Shape, "type: int, isList: true, value: [null]"),
            (Sound, "type: float, isList: true, value: [\"1e3\", \"nan\"]"),
            (Shape, "type: str, isList: true, value: [null]"),
            (Sound, "type: str, isList: true, value: [\"{{ x }}\", 1]"),
            (Sound, "type: any, isList: true, value: [null, \"{{ x }}\"]"),
            (Shape, "type: uri, isList: true, value: [\"{{ x }}\"]"),
            (Shape, "type: dict, isList: true, value: [\"{}\"]"),
            (Shape, "type: \"List[int]\", value: [\"{{ x }}\"]"),
            (Shape, "type: \"Dict[str,int]\", value: {a: null}"),
            (Sound, "type: \"Optional[int]\", isList: true, value: [null, \"1_000\"]"),
            (Shape, "type: foo, isList: true, value: []"),
            (Sound, "type: list, value: [null]"),
            (Sound, "isOptional: null, value: null"),
            (Warned, "isList: true, value: [1], validation: {regex: \"[\"}"),
        ],
        |fields| component(&format!("inputs: [{{name: a, {fields}}}]\nrun: {{kind: job}}")),
    );
}

#[test]
fn limits_of_texts_and_of_numbers() {
    check(
        &[
            (Shape, "type: str, value: a, validation: {gt: \"5\"}"),
            (Sound, "type: str, value: a, validation: {lt: \"{{ x }}\"}"),
            (Shape, "type: str, value: a, validation: {gt: \"{{ x }}\"}"),
            (Shape, "type: str, value: a, validation: {minLength: \"{{ x }}\"}"),
            (Sound, "type: float, value: 0.5, validation: {multipleOf: 0.25}"),
            (Shape, "type: float, value: 0.3, validation: {multipleOf: 0.1}"),
        ],
        |fields| component(&format!("inputs: [{{name: a, {fields}}}]\nrun: {{kind: job}}")),
    );
}

#[test]
fn lengths_of_time() {
    check(
        &[
            (Sound, "1d"),
            (Sound, "\"1 day, 01:00\""),
            (Sound, "\"-2 DAYS 1:00:00\""),
            (Sound, "P1Y2M3DT4H"),
            (Sound, "\"24:00:00\""),
            (Shape, "1h"),
            (Shape, "1.5d"),
            (Shape, "\"1:00\""),
            (Shape, "\"23:60:00\""),
            (Shape, "1 day 25:00:00"),
        ],
        |value| component(&format!("inputs: [{{name: a, type: timedelta, value: {value}}}]\nrun: {{kind: job}}")),
    );
    let every = |value: &str| operation(&format!("schedule: {{kind: interval, frequency: {value}}}"));
    check(&[(Sound, "1d"), (Sound, "P1M"), (Sound, "true"), (Warned, "false"), (Shape, "1h")], every);
}

#[test]
fn ranges_of_values() {
    check(
        &[
            (Shape, "linspace, value: [1, 10, 0]"),
            (Shape, "geomspace, value: \"1:10:0\""),
            (Shape, "daterange, value: [\"2026-01-05\", \"2026-01-01\", 1]"),
            (Shape, "daterange, value: [\"2026-01-01\", \"2026-01-05\", 0]"),
            (Shape, "datetimerange, value: [\"2026-01-02\", \"2026-01-02\", 60]"),
            (Shape, "datetimerange, value: [\"2026-01-01T00:00:00\", \"2026-01-02T00:00:00Z\", 60]"),
            (Shape, "datetimerange, value: null"),
            (Params, "daterange, value: null"),
        ],
        |value| operation(&format!("matrix: {{kind: random, numRuns: 2, params: {{x: {{kind: {value}}}}}}}")),
    );
}

#[test]
fn searches_must_say_what_they_search() {
    check(
        &[
            (Shape, "kind: grid, params: {}"),
            (Shape, "kind: grid, params: \"{{ p }}\""),
            (Shape, "kind: grid, params: {x: {kind: pchoice, value: [[1, 0.5], [2, 0.5]]}}"),
            (Shape, "kind: grid, params: {x: {kind: uniform}}"),
            (Warned, "kind: random, numRuns: 2, params: {}"),
            (Sound, "kind: random, numRuns: 2, params: \"{{ p }}\""),
            (Params, "kind: random, numRuns: 2, params: \"{{ x }}\""),
            (Params, "kind: iterative, maxIterations: 2, tuner: {hubRef: t}"),
            (Shape, "kind: grid, concurrency: \"2\", params: {x: {kind: choice, value: [1]}}"),
            (Sound, "kind: mapping, concurrency: \"2\", values: [{x: 1}]"),
            (
                Warned,
                "kind: hyperopt, numRuns: 2, maxIterations: 0, metric: {name: l}, params: {x: {kind: uniform, value: [0, 1]}}",
            ),
        ],
        |search| operation(&format!("matrix: {{{search}}}")),
    );
}

#[test]
fn sections_of_operations() {
    check(
        &[
            (Params, "joins: \"{{ x }}\""),
            (Params, "joins: [{query: \"status:succeeded\", params: \"{{ x }}\"}]"),
            (Params, "plugins: {sandbox: \"{{ x }}\"}"),
            (Sound, "plugins: {sandbox: \"no\"}"),
            (Warned, "params: {x: {value: 2, toInit: true}}"),
            (Sound, "mount: [a, {from: a, path_to: b}]"),
            (Shape, "mount: [{from: a, path_from: b}]"),
            (Shape, "termination: {probe: {http: {path: /a}}}"),
            (Sound, "termination: {probe: {http: {port: 80}, exec: {}}}"),
            (Shape, "termination: {podFailurePolicy: {rules: null}}"),
            (Sound, "termination: {podFailurePolicy: null, probe: {http: null, exec: null}}"),
            (Params, "runPatch: {init: [{git: {url: u}, artifacts: {files: [a]}}]}"),
        ],
        operation,
    );
    let patched = |patch: &str| {
        format!("version: 1.1\nkind: operation\nrunPatch: {{{patch}}}\ncomponent: {{run: {{kind: raycluster}}}}\n")
    };
    check(&[(Sound, "environment: {nodeName: a}"), (Params, "worker: {replicas: 2}")], patched);
}

/// Alone, an operation is asked what its template variables mean; in a graph only which operation they are of.
#[test]
fn refs_of_template_variables() {
    let job = "component: {run: {kind: job}}";
    let variable = |fields: &str| format!("params: {{v: {{{fields}, contextOnly: true}}}}");
    let node = |fields: &str| {
        component(&format!("run: {{kind: dag, operations: [{{name: a, {job}}}, {{name: b, {job}, {fields}}}]}}"))
    };
    let alone = |fields: &str| format!("version: 1.1\nkind: operation\n{fields}\n{job}\n");
    let joined = "joins: [{query: a, params: {v: {value: bar, contextOnly: true}}}]";
    let of_nobody = variable("ref: foo.a, value: outputs.x");
    let of_nothing = variable("ref: ops.a, value: foo");
    check(&[(Params, &of_nobody), (Params, &of_nothing), (Params, joined)], alone);
    let unknown = variable("ref: ops.z, value: outputs.x");
    check(&[(Warned, &of_nobody), (Warned, &of_nothing), (Warned, joined), (Params, &unknown)], node);
}

/// A graph in a graph is compiled late, and read with its file.
#[test]
fn operations_of_inner_graphs() {
    let job = "run: {kind: job, container: {image: a}}";
    let inner = |node: &str| {
        let graph = |nodes: &str| format!("{{run: {{kind: dag, operations: [{nodes}]}}}}");
        let graph = graph(&format!("{{name: x, component: {}}}", graph(&format!("{{name: b, {node}}}"))));
        format!("version: 1.1\nkind: operation\ncomponent: {graph}\n")
    };
    check(
        &[
            (Shape, "tags: [a]"),
            (Shape, "hubRef: x, pathRef: y"),
            (Shape, "hubRef: \"\""),
            (Shape, &format!("component: {{inputs: [{{name: q, type: int, value: word}}], {job}}}")),
            (Warned, "dagRef: nobody"),
            (Warned, &format!("dependencies: [nobody], component: {{{job}}}")),
            (Warned, &format!("component: {{inputs: [{{name: q, type: int}}], {job}}}")),
        ],
        inner,
    );
}

#[test]
fn parts_of_runs() {
    check(
        &[
            (Shape, "kind: job, init: \"{{ x }}\""),
            (Sound, "kind: tfjob, worker: {init: \"{{ x }}\"}"),
            (Shape, "kind: tfjob, enableDynamicWorker: \"{{ x }}\""),
            (Shape, "kind: job, init: [{git: \"{{ x }}\"}]"),
            (Sound, "kind: job, init: [{git: \"{{ x }}\", connection: a}]"),
            (Shape, "kind: job, init: [{git: {url: a}, artifacts: {}}]"),
            (Shape, "kind: job, environment: {hostAliases: [{hostnames: [a]}]}"),
            (Shape, "kind: job, environment: {tolerations: [null]}"),
            (Shape, "kind: job, volumes: [null]"),
            (Sound, "kind: job, environment: {affinity: null, hostAliases: null, securityContext: null}"),
            // Kubernetes' own keys are read in any of these spellings, others are not.
            (Sound, "kind: job, container: {Image: a, COMMAND: [b], image_pull_policy: Always}"),
            (Shape, "kind: job, container: {imagepullpolicy: Always}"),
            (Shape, "kind: job, Container: {image: a}"),
        ],
        |run| component(&format!("run: {{{run}}}")),
    );
}

#[test]
fn the_shortcut_dialect() {
    check(
        &[
            (Sound, "container: {image: a, volume_mounts: [{name: v, mountPath: /v}]}"),
            (Sound, "kind: component\nisPreset: false\ncmd: a"),
            (Sound, "component: {cmd: a, inputs: [{name: p, type: int}], params: {p: 1}}"),
            (Params, "component: {cmd: a, inputs: [{name: p, type: int}], params: {p: word}}"),
            (Params, "params: {p: word}\ncomponent: {cmd: a, inputs: [{name: p, type: int}], params: {p: 1}}"),
            (Params, "component: {cmd: a, runPatch: {foo: 1}}"),
            (Sound, "hubRef: \"\"\npathRef: \"\"\ncmd: a"),
            (Params, "run: {kind: dag, operations: [{name: a, cmd: a}, {name: a, cmd: b}]}"),
            (Params, "run: {kind: dag, operations: [{name: a, cmd: a, schedule: {kind: cron, cron: \"0 0 * * *\"}}]}"),
            // What fails later hides nothing that is wrong now.
            (Shape, "inputs: [{name: p, type: int, value: word}]\nrun: {kind: job}\nports: [80]"),
        ],
        str::to_owned,
    );
}
