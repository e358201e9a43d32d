//! Small rules of polyaxonfiles, each with a file that keeps it and one that breaks it, at the depth where the original
//! finds out: `validate` looks at the shape, `run --dry-run` at the params too.

use tidegate::domain::compile::{Alone, Asked, Depth, compile_alone};
use tidegate::domain::files::{FileContent, SourceFile};

/// Where a file is refused.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Nowhere, and nothing is said.
    Sound,
    /// Nowhere, with a warning.
    Warned,
    /// By `validate` already.
    Shape,
    /// Only when its params are looked at.
    Params,
}
use Verdict::{Params, Shape, Sound, Warned};

fn compiled(text: &str, depth: Depth) -> Alone {
    let file = SourceFile { path: "polyaxonfile.yaml".into(), content: FileContent::Text(text.into()) };
    compile_alone(file, &Asked::default(), depth, true, &|_| None)
}

fn verdict(text: &str) -> (Verdict, String) {
    let [shape, params] = [Depth::Shape, Depth::Params].map(|depth| compiled(text, depth).diagnostics);
    let said = params.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>().join("; ");
    let verdict = match (shape.errors(), params.errors()) {
        (0, 0) if params.is_empty() => Sound,
        (0, 0) => Warned,
        (0, _) => Params,
        _ => Shape,
    };
    (verdict, said)
}

pub fn check(cases: &[(Verdict, &str)], whole: impl Fn(&str) -> String) {
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(expected, text)| {
            let (found, said) = verdict(&whole(text));
            (found != *expected).then(|| format!("{text}\n  {found:?} in place of {expected:?}: {said}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An operation with further fields; its component takes `x` (a number), `n` (a whole one) and `l` (a list).
pub fn operation(fields: &str) -> String {
    format!(
        "version: 1.1\nkind: operation\n{fields}\ncomponent:\n  inputs: [{{name: x, type: float, value: 1}}, {{name: n, type: int, \
         value: 1}}, {{name: l, isList: true, isOptional: true}}]\n  run: {{kind: job, container: {{image: i}}}}\n"
    )
}

pub fn component(fields: &str) -> String {
    format!("version: 1.1\nkind: component\n{fields}\n")
}

#[test]
fn searches() {
    let search = |fields: &str| operation(&format!("matrix: {{{fields}}}"));
    check(
        &[
            (Sound, "kind: random, numRuns: 2, seed: 7, params: {x: {kind: uniform, value: [0, 1]}}"),
            (Shape, "kind: random, numRuns: \"2\", params: {x: {kind: uniform, value: [0, 1]}}"),
            (Shape, "kind: random, numRuns: null, params: {x: {kind: uniform, value: [0, 1]}}"),
            (Shape, "kind: random, numRuns: 2, seed: \"7\", params: {x: {kind: uniform, value: [0, 1]}}"),
            (Shape, "kind: grid, params: null"),
            (Shape, "kind: grid, params: {}"),
            (Warned, "kind: mapping, values: []"),
            (Shape, "kind: mapping, values: null"),
            (Sound, "kind: hyperopt, metric: {name: loss}, params: {x: {kind: uniform, value: [0, 1]}}"),
            (Shape, "kind: hyperopt, metric: \"{{ m }}\", params: {x: {kind: uniform, value: [0, 1]}}"),
            (
                Shape,
                "kind: bayes, numInitialRuns: 2, maxIterations: null, metric: {name: a}, params: {x: {kind: choice, value: [1]}}",
            ),
            (Params, "kind: random, numRuns: 2, params: {l: {kind: uniform, value: [0, 1]}}"),
            (Params, "kind: grid, params: {x: {kind: daterange, value: [\"2026-01-01\", \"2026-01-05\", 1]}}"),
        ],
        search,
    );
    assert_eq!(verdict(&operation("matrix: \"{{ m }}\"")).0, Shape);
}

#[test]
fn early_stopping() {
    let rule = |fields: &str| {
        operation(&format!(
            "matrix: {{kind: random, numRuns: 2, params: {{x: {{kind: uniform, value: [0, 1]}}}}, earlyStopping: [{{{fields}}}]}}"
        ))
    };
    check(
        &[
            (Sound, "kind: metric_early_stopping, metric: a, value: 1, optimization: maximize, policy: {kind: median}"),
            (
                Shape,
                "kind: metric_early_stopping, metric: a, value: 1, optimization: maximize, policy: {kind: diff, percent: 5}",
            ),
            (Shape, "kind: metric_early_stopping, metric: a, value: 1, optimization: maximize, policy: {kind: diff}"),
            (Shape, "kind: metric_early_stopping, metric: a, value: null, optimization: maximize"),
            (Shape, "kind: metric_early_stopping, metric: a, value: 1, optimization: null"),
            (
                Shape,
                "kind: metric_early_stopping, metric: a, value: 1, optimization: maximize, policy: {kind: median, evaluationInterval: \"1\"}",
            ),
            (Shape, "kind: failure_early_stopping, percent: null"),
        ],
        rule,
    );
}

#[test]
fn hooks_builds_joins_and_params() {
    check(
        &[
            (Sound, "params: {x: {value: 2, contextOnly: \"yes\"}}"),
            (Shape, "params: {x: {value: 2, contextOnly: 2}}"),
            (Shape, "params: {x: {ref: ops.a, value: [outputs.b]}}"),
            (Shape, "params: {x: {ref: ops.a}}"),
            (Shape, "joins: [{query: \"status:succeeded\", limit: \"5\", params: {l: {value: outputs.a}}}]"),
            (Params, "joins: [{query: \"status:succeeded\", params: {l: {value: loss}}}]"),
            (Shape, "hooks: [{hubRef: notify, params: {a: 1}}]"),
            (Shape, "hooks: [{hubRef: notify, params: {a: {vlaue: 1}}}]"),
            (Shape, "build: {hubRef: kaniko, params: {a: text}}"),
            (Shape, "build: {hubRef: kaniko, params: {a: {vlaue: 1}}}"),
        ],
        operation,
    );
    let hooked = verdict(&operation("hooks: [{hubRef: notify, params: {a: {value: 1}}}]"));
    assert!(matches!(hooked.0, Sound | Warned), "{}", hooked.1);
    let built = verdict(&operation("build: {hubRef: kaniko, params: {a: {value: 1}, b: \"{{ b }}\"}}"));
    assert!(matches!(built.0, Sound | Warned), "{}", built.1);
}

#[test]
fn declarations_of_inputs() {
    let declared = |fields: &str| {
        component(&format!("inputs: [{{name: a, {fields}}}]\nrun: {{kind: job, container: {{image: i}}}}"))
    };
    check(
        &[
            (Sound, "type: int, isOptional: true, value: 1"),
            (Shape, "type: int, isOptional: null, value: 1"),
            (Shape, "type: int, isOptional: \"{{ b }}\""),
            (Shape, "type: int, isList: \"{{ b }}\", value: 1"),
            (Sound, "type: int, isOptional: true, toInit: \"no\", delayValidation: 1"),
            (Sound, "type: int, value: 3, validation: {gt: \"2\"}"),
            (Shape, "type: int, value: 3, validation: {gt: \"3\"}"),
            (Shape, "type: int, value: 3, validation: {minLength: 1}"),
            (Shape, "type: str, value: a, validation: {multipleOf: 2}"),
            (Shape, "type: str, value: abc, validation: {maxLength: 2}"),
            (Warned, "value: abc, validation: {maxLength: 2}"),
        ],
        declared,
    );
    let given = |value: &str| {
        format!(
            "version: 1.1\nkind: operation\nparams: {{a: {value}}}\ncomponent:\n  inputs: [{{name: a, type: int}}]\n  run: {{kind: job, container: {{image: i}}}}\n"
        )
    };
    check(&[(Sound, "1"), (Params, "null"), (Params, "{value: null}"), (Params, "{}")], given);
}

#[test]
fn pods() {
    let run = |fields: &str| component(&format!("run: {{kind: job, container: {{image: i}}, {fields}}}"));
    check(
        &[
            (Sound, "volumes: [{name: v, emptyDir: {}}]"),
            (Shape, "volumes: [{emptyDir: {}}]"),
            (Shape, "volumes: [{name: null}]"),
            (Shape, "init: [{git: {}}]"),
            (Shape, "init: [{git: {revision: main}}]"),
            (Sound, "init: [{git: {url: \"https://example.org/a\"}}]"),
        ],
        run,
    );
    let container = |fields: &str| component(&format!("run: {{kind: job, container: {{{fields}}}}}"));
    check(
        &[
            (Sound, "image: i, command: [sh], args: a b"),
            (Warned, "image: 1"),
            (Warned, "image: i, command: 1"),
            (Warned, "image: i, args: {a: b}"),
            (Shape, "image: i, comand: [sh]"),
        ],
        container,
    );
    let elastic =
        "run: {kind: pytorchjob, elasticPolicy: {metrics: [{type: Resource}]}, master: {container: {image: i}}}";
    assert!(matches!(verdict(&component(elastic)).0, Sound | Warned));
}

#[test]
fn presets_and_templates() {
    let alone = "version: 1.1\nkind: operation\nisPreset: true\nqueue: a/b\n";
    assert_eq!(verdict(alone).0, Shape);
    let template = |enabled: bool| {
        component(&format!("template: {{enabled: {enabled}}}\nrun: {{kind: job, container: {{image: i}}}}"))
    };
    assert_eq!((verdict(&template(false)).0, verdict(&template(true)).0), (Sound, Params));
}

/// What the original reads, and finds out when the run is made, is read with a warning.
#[test]
fn what_fails_later_is_a_warning() {
    let policy = "kind: metric_early_stopping, metric: a, value: 1, optimization: 1.5";
    let stopping = format!(
        "matrix: {{kind: random, numRuns: 2, params: {{x: {{kind: uniform, value: [0, 1]}}}}, earlyStopping: [{{{policy}}}]}}"
    );
    check(
        &[
            (Warned, &stopping),
            (Warned, "schedule: {kind: interval, frequency: 0}"),
            (Warned, "schedule: {kind: interval, frequency: -5}"),
            (Sound, "schedule: {kind: datetime, startAt: \"120\"}"),
            (Shape, "schedule: {kind: datetime, startAt: 1.0e+20}"),
            (Warned, "joins: [{query: \"status:succeeded\", limit: -1, params: {l: {value: outputs.a}}}]"),
            (Params, "joins: [{query: \"status:succeeded\", params: {l: {}}}]"),
            (Params, "joins: [{query: \"status:succeeded\"}]"),
            (Shape, "joins: [{query: \"status:succeeded\", params: {l: {value: outputs.a, valeu: 1}}}]"),
            (Params, "runPatch: {ports: [80]}"),
            (Params, "runPatch: {kind: service}"),
            (Sound, "params: {x: {ref: ops.a, value: \"{{ outputs.o }}\"}}"),
            (Sound, "params: {x: {ref: ops.a, value: artifacts.o}}"),
            (Params, "params: {x: {ref: ops.a, value: outputs.o}}"),
            (Params, "params: {x: {ref: runs.fcc462d764104eb698d3cca509f34154, value: a.b.c}}"),
            (Sound, "isPreset: true"),
            (Shape, "termination: \"{{ x }}\""),
            (Params, "template: {enabled: \"yes\"}\ncomponent: {template: {enabled: \"yes\"}, run: {kind: job}}"),
        ],
        |fields| match fields.split_once("\ncomponent:") {
            Some((_, component)) => format!("version: 1.1\nkind: operation\ncomponent:{component}\n"),
            None => operation(fields),
        },
    );
    let graph = |nodes: &str| component(&format!("run: {{kind: dag, {nodes}}}"));
    let job = "component: {run: {kind: job}}";
    check(
        &[
            (Warned, &format!("operations: [{{name: a, {job}}}, {{name: a, {job}}}]")),
            (
                Params,
                "operations: [{name: a, dagRef: c}, {name: a, dagRef: c}], components: [{name: c, run: {kind: job}}]",
            ),
            (Sound, &format!("operations: [{{name: a, version: 2, {job}}}]")),
        ],
        graph,
    );
}

#[test]
fn values_of_a_search() {
    let of =
        |value: &str| operation(&format!("matrix: {{kind: random, numRuns: 2, params: {{x: {{kind: {value}}}}}}}"));
    check(
        &[
            (Warned, "geomspace, value: [0, 1, 5]"),
            (Warned, "normal, value: [0, -1]"),
            (Warned, "linspace, value: [0, 1, -5]"),
            (Warned, "choice, value: []"),
            (Shape, "choice, value: null"),
            (Warned, "uniform, value: null"),
            (Warned, "uniform"),
            (Sound, "uniform, value: [false, true]"),
            (Sound, "uniform, value: \"{{ x }}\""),
            (Shape, "uniform, value: [\"{{ x }}\", 1]"),
            (Shape, "uniform, value: [0, 1, 2.5]"),
            (Sound, "linspace, value: [0, 1, \"2.0\"]"),
            (Shape, "logspace, value: [0, 1, 5, 2.5]"),
        ],
        of,
    );
}

#[test]
fn rules_and_types_of_inputs() {
    check(
        &[
            (Params, "type: str, validation: {regex: \"(?=a)b\"}"),
            (Sound, "type: str, value: b, validation: {regex: \"(?!a)b\"}"),
            (Shape, "type: str, value: c, validation: {regex: \"(?!a)b\"}"),
            (Warned, "type: str, isOptional: true, validation: {regex: \"[\"}"),
            (Shape, "type: str, value: b, validation: {regex: \"[\"}"),
            (Sound, "type: str, value: b, options: abc"),
            (Shape, "type: str, value: z, options: abc"),
            (Sound, "value: 1, isList: true"),
            (Sound, "type: \"\", value: 1, isList: true"),
            (Shape, "type: int, value: \"5.\""),
            (Shape, "type: int, value: \"+1\""),
            (Sound, "type: int, value: 7, validation: {minDigits: -1}"),
            (Sound, "type: int, value: 7, validation: {gt: \"5\"}"),
            (Shape, "type: int, value: 7, validation: {gt: \"{{ x }}\"}"),
            (Shape, "type: \"Dict[str,str]\", value: {a: 1}"),
            (Sound, "type: Dict, value: {a: 1}"),
            (Shape, "type: list, value: [abc, b], validation: {minLength: 2}"),
            (Sound, "type: float, value: 6, validation: {minDigits: 2}"),
            (Shape, "type: int, value: 6, validation: {decimalPlaces: 1}"),
        ],
        |fields| component(&format!("inputs: [{{name: a, {fields}}}]\nrun: {{kind: job}}")),
    );
}

#[test]
fn whole_sections_are_no_templates() {
    check(
        &[
            (Sound, "kind: job, environment: {labels: {a: [1], b: {c: 1}}}"),
            (Shape, "kind: job, environment: \"{{ x }}\""),
            (Shape, "kind: tfjob, worker: \"{{ x }}\""),
            (Shape, "kind: job, init: [{dockerfile: {image: a, env: text}}]"),
            (Shape, "kind: job, init: [{tensorboard: {uuids: text}}]"),
        ],
        |run| component(&format!("run: {{{run}}}")),
    );
}

/// What version 2.18 of the original takes in a file with root fields that only its dialect has.
#[test]
fn shortcuts() {
    check(
        &[
            (Sound, "version: null\ncmd: a"),
            (Sound, "version: \"1.1\"\ncmd: a"),
            (Shape, "version: [1]\ncmd: a"),
            (Shape, "version: one\ncmd: a"),
            (Shape, "cmd: a\nstrictParams: \"{{ x }}\""),
            (
                Sound,
                "cmd: a\nmatrix: {kind: tpe, numRuns: 2, metric: {name: loss}, params: {x: {kind: uniform, value: [0, 1]}}}",
            ),
            (
                Shape,
                "cmd: a\nmatrix: {kind: hyperopt, numRuns: 2, metric: {name: loss}, params: {x: {kind: uniform, value: [0, 1]}}}",
            ),
            (
                Shape,
                "cmd: a\nmatrix: {kind: tpe, algorithm: tpe, numRuns: 2, metric: {name: loss}, params: {x: {kind: uniform, value: [0, 1]}}}",
            ),
            (Sound, "kind: operation\ncmd: a\nparams: {z: {ref: ops.x, value: outputs.y}}"),
            (Sound, "kind: operation\ncmd: a\njoins: [{query: \"status:succeeded\", params: {z: {value: outputs.y}}}]"),
        ],
        str::to_owned,
    );
}

/// A preset of the shortcut dialect is a document like any other there, and null says nothing.
#[test]
fn shortcuts_that_stand_for_no_run() {
    check(
        &[
            (Sound, "kind: null\ncmd: a"),
            (Shape, "kind: job\ncmd: a"),
            (Sound, "isPreset: true\ncmd: a"),
            (Sound, "isPreset: true\nkind: component\ncmd: a"),
            (Sound, "isPreset: true\nkind: operation\nrun: {kind: job}\ncmd: a"),
            (Sound, "run: null\ncmd: a"),
            (Shape, "run: {}\ncmd: a"),
            (Shape, "run: {container: {image: a}}\ncmd: a"),
            (Shape, "run: [a]\ncmd: a"),
            (Sound, "component: {}\ncmd: a"),
            (Params, "cmd: null"),
            (Params, "strictParams: true"),
            (Params, "isPreset: true\nstrictParams: true"),
            (Sound, "container: null"),
            (Params, "run: {kind: job}\nports: [1]"),
            (Params, "kind: component\nrun: {kind: job}\nports: [1]"),
            (Params, "run: {kind: tfjob, worker: {}}\nports: [1]"),
            (Params, "run: {kind: dag, operations: [{name: b, cmd: x}]}\ncmd: a"),
            (Sound, "run: {kind: dag, operations: [{name: b, cmd: x}]}\nconnections: [a]"),
            (Params, "kind: component\ncmd: x\nrunPatch: {foo: 1}"),
        ],
        str::to_owned,
    );
}

/// Every operation and component inside a document may have them.
#[test]
fn shortcuts_inside_of_graphs() {
    check(
        &[
            (Sound, "[{name: a, cmd: x}]"),
            (Sound, "[{name: a, kind: null, version: 7, cmd: x}]"),
            (Sound, "[{name: a, component: {cmd: x}, env: {A: b}}]"),
            (Params, "[{name: a, component: {cmd: x}, ports: [1]}]"),
            (Sound, "[{name: a, component: {component: {cmd: x}}}]"),
            (Sound, "[{name: a, run: {kind: dag, operations: [{name: b, cmd: x}]}}]"),
            (Sound, "[{name: a, component: {run: {kind: dag, operations: [{name: b, cmd: x}]}}}]"),
            (Sound, "[{name: a, dagRef: c, cmd: y}]\n  components: [{name: c, cmd: x}]"),
            (Sound, "[{name: a, dagRef: c}]\n  components: [{name: c, component: {cmd: x}}]"),
            (Sound, "[{name: a, cmd: x, params: {z: 1}}]"),
            (Params, "[{name: a, cmd: x, params: {z: 1}, strictParams: true}]"),
            (Params, "[{name: a, component: {cmd: x, strictParams: true}, params: {z: 1}}]"),
            (Params, "[{name: a, cmd: x, inputs: [{name: p, type: int}]}]"),
            (
                Sound,
                "[{name: a, cmd: x, matrix: {kind: tpe, numRuns: 2, metric: {name: l}, params: {z: {kind: choice, value: [1]}}}}]",
            ),
            (
                Shape,
                "[{name: a, cmd: x, matrix: {kind: hyperopt, numRuns: 2, metric: {name: l}, params: {z: {kind: choice, value: [1]}}}}]",
            ),
            (Shape, "[{name: a, kind: foo, cmd: x}]"),
            (Shape, "[{name: a, version: foo, cmd: x}]"),
            (Shape, "[{name: a, run: {}, cmd: x}]"),
            (Params, "[{name: a, cmd: x, runPatch: {foo: 1}}]"),
            (Params, "[{name: a, run: {kind: job}, ports: [1]}]"),
            (Params, "[{name: a, cmd: x}, {name: b}, {name: c, strictParams: true}]"),
            // Nothing here is of this dialect.
            (Shape, "[{name: a, component: {run: {kind: job}}, inputs: []}]"),
        ],
        |operations| component(&format!("run:\n  kind: dag\n  operations: {operations}")),
    );
}
