//! The table of all codes: number, severity, title, explanation, a bad and a mended example. Numbers are never reused.
//!
//! 00xx text · 01xx shape · 02xx names and references · 03xx values · 04xx inputs and params · 05xx what cannot run yet.

use crate::domain::diagnostic::{Code, Severity};

/// What a code means.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The number.
    pub code: Code,
    /// Whether it is an error or a warning.
    pub severity: Severity,
    /// A few words.
    pub title: &'static str,
    /// What it is about and why it matters.
    pub explanation: &'static str,
    /// Text that has the problem.
    pub bad: &'static str,
    /// The same without it.
    pub good: &'static str,
}

/// The entry of a code.
pub fn entry(code: Code) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.code == code)
}

/// Reads `TG0123`, `tg123` or `123`.
pub fn parse(text: &str) -> Option<Code> {
    let digits = text.strip_prefix("TG").or_else(|| text.strip_prefix("tg")).unwrap_or(text);
    digits.parse().ok().map(Code).filter(|code| entry(*code).is_some())
}

macro_rules! codes {
    ($($name:ident = $number:literal $severity:ident $title:literal: $explanation:literal, $bad:literal => $good:literal;)*) => {
        $(#[doc = $title] pub const $name: Code = Code($number);)*

        /// All codes, by number.
        pub const TABLE: &[Entry] = &[$(Entry {
            code: $name, severity: Severity::$severity, title: $title, explanation: $explanation, bad: $bad, good: $good,
        },)*];
    };
}

codes! {
    NOT_TEXT = 1 Error "the file is not UTF-8 text": "Specs are UTF-8. A file in another encoding would be read differently by every tool.",
        "(bytes that are not UTF-8)" => "name: caf\u{e9}    # saved as UTF-8";
    SYNTAX = 2 Error "the text is not YAML": "The parser stopped here; the other documents of the file are still checked. Most often a quote or bracket is not closed, or a line is indented with a tab.",
        "tags: [a, b" => "tags: [a, b]";
    TOO_LARGE = 3 Error "the file is too large": "A file of specs has at most 1 MiB; a larger one is generated or not a spec.",
        "(a file of 5 MiB)" => "(several files)";
    TOO_DEEP = 4 Error "nested too deep": "Mappings and lists are read up to 64 levels deep.",
        "[[[[[[ ... ]]]]]]" => "[1, 2]";
    TOO_MANY_NODES = 5 Error "too many values": "A file has at most 200,000 values.",
        "(a list of a million items)" => "(several files)";
    ALIAS_BOMB = 6 Error "aliases multiply the file": "Aliases are copies. A few lines of anchors that name one another can stand for billions of values; the copies are counted, and refused beyond 4 MiB of text.",
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]    # and so on" => "a: [x, x]";
    TOO_MANY_DOCUMENTS = 7 Error "too many documents": "A file has at most 1000 documents.",
        "--- # a thousand times" => "(several files)";
    DUPLICATE_KEY = 8 Error "a key stands twice": "YAML readers keep one of the two, and not all keep the same. Polyaxon keeps the last without a word; here it is an error.",
        "concurrency: 2\nconcurrency: 8" => "concurrency: 8";
    KEY_NOT_TEXT = 9 Error "a key is not a text": "Keys are texts. A number, a boolean or a mapping as a key is read differently by different readers.",
        "labels: {1: a}" => "labels: {\"1\": a}";
    CUSTOM_TAG = 10 Error "a tag without meaning": "Tags such as `!Ref` belong to other programs; those of YAML itself (`!!str`, `!!int`, …) must fit their value.",
        "name: !Ref train" => "name: train";
    REFUSED_SCALAR = 11 Error "a number that JSON does not have": "Infinity, NaN and integers of more than 64 bits do not survive being stored.",
        "cost: .inf" => "cost: 1000000";
    UNQUOTED_TEMPLATE = 12 Error "a template without quotes": "`{{ x }}` without quotes is a mapping in YAML.",
        "args: {{ lr }}" => "args: \"{{ lr }}\"";
    YAML_1_1 = 13 Warning "YAML 1.1 reads this differently": "Scalars are read by YAML 1.2: `yes`, `on`, `12:30`, `1_000` are texts and `010` is ten. Polyaxon and other readers of YAML 1.1 see booleans, octal and base-60 numbers.",
        "command: [echo, on]" => "command: [echo, \"on\"]";
    BAD_MERGE = 14 Error "`<<` without a mapping": "The merge key takes a mapping or a list of mappings, most often an alias.",
        "<<: base" => "<<: *base";
    SYMLINK = 15 Error "a symbolic link": "Links are never followed: they could lead out of the repository.",
        "queues/gpu.yaml -> /etc/passwd" => "queues/gpu.yaml    # a file";
    SUBMODULE = 16 Error "a submodule": "Other repositories are never entered.",
        "projects/vision    # a submodule" => "projects/vision/project.yaml    # a file";
    LFS_POINTER = 17 Error "a pointer to Git LFS": "The spec itself is not in the repository.",
        "version https://git-lfs.github.com/spec/v1" => "version: 1.1";
    BAD_NAME = 18 Error "a name that no checkout should make": "Entries named `..` or `.git`, and names with control characters, are refused.",
        "queues/../../x.yaml" => "queues/x.yaml";
    LONG_KEY = 19 Error "a key is too long": "Keys have at most 1024 bytes.",
        "(a key of 2000 bytes)" => "name: x";
    SELF_ALIAS = 20 Error "an alias inside what it names": "A value cannot contain itself.",
        "a: &a [*a]" => "a: [1]";

    NOT_A_MAPPING = 101 Error "a document is not a mapping": "Each document is a mapping with `version` and `kind`.",
        "- a\n- b" => "version: 1.1\nkind: queue\nname: gpu\nagent: us-east";
    UNKNOWN_KIND = 102 Error "the kind is missing or unknown": "`kind` is organization, agent, queue, project, component, workflow or operation.",
        "kind: ques" => "kind: queue";
    BAD_VERSION = 103 Error "the version is missing or unknown": "`version` is the number 1.1, without quotes.",
        "version: \"1.1\"" => "version: 1.1";
    UNKNOWN_FIELD = 104 Error "an unknown field": "The field is not one of this kind. `tidegate explain KIND` lists those that are.",
        "concurency: 8" => "concurrency: 8";
    MISSING_FIELD = 105 Error "a field is missing": "The field has no default and must be written.",
        "kind: queue\nname: gpu" => "kind: queue\nname: gpu\nagent: us-east";
    WRONG_TYPE = 106 Error "a value of the wrong type": "The field takes another type of value.",
        "concurrency: many" => "concurrency: 8";
    NOT_A_CHOICE = 107 Error "not one of the words": "The field takes one of a few words.",
        "order: fifo" => "order: strict";
    OUT_OF_RANGE = 108 Error "out of range": "The number is too small or too large.",
        "concurrency: -2" => "concurrency: -1";
    MALFORMED = 109 Error "a malformed text": "The text does not have the form that the field wants.",
        "name: My Queue" => "name: my-queue";
    WRONG_COUNT = 110 Error "too many or too few": "The list or mapping has more or fewer entries than it may have.",
        "triggers: [{push: {}, dispatch: {}}]" => "triggers: [{push: {}}, {dispatch: {}}]";
    NOT_VALID = 111 Error "not valid": "The value breaks a rule of the schema.",
        "(see the message)" => "(see the message)";

    NO_ORGANIZATION = 201 Error "no organization": "A repository of specs has exactly one document of kind organization, by convention in `tidegate.yaml`.",
        "(no tidegate.yaml)" => "version: 1.1\nkind: organization\nname: acme";
    DUPLICATE_NAME = 202 Error "a name is declared twice": "Two documents declare the same thing. Neither is applied: which one was meant is not known.",
        "kind: queue\nname: gpu    # in two files" => "kind: queue\nname: gpu-2";
    UNKNOWN_AGENT = 203 Error "an unknown agent": "No document of kind agent has this name.",
        "agent: us-eats" => "agent: us-east";
    UNKNOWN_QUEUE = 204 Error "an unknown queue": "No document of kind queue has this name, and it is not the `default` of an agent.",
        "queue: us-east/gpus" => "queue: us-east/gpu";
    QUEUE_NOT_ALLOWED = 205 Error "a queue that the project may not use": "`queues` of the project names the only queues that its operations may use.",
        "queue: us-east/gpu    # project: queues: [eu-*/*]" => "queue: eu-west/gpu";
    ONE_TARGET = 206 Error "an agent needs one target": "An agent runs operations either as processes (`local`) or in Kubernetes (`kubernetes`).",
        "kind: agent\nname: here" => "kind: agent\nname: here\nlocal: {}";
    UNKNOWN_PRESET = 207 Error "an unknown preset": "No file of `presets/` has this name.",
        "presets: [spott]" => "presets: [spot]";
    UNKNOWN_COMPONENT = 208 Error "an unknown component": "`hubRef` names a component of the project or of the organization, in a folder `components/`.",
        "hubRef: trian" => "hubRef: train";
    NO_SUCH_FILE = 209 Error "no such file": "`pathRef` names a file, relative to the one that it stands in.",
        "pathRef: ./trian.yaml" => "pathRef: ./train.yaml";
    OUTSIDE = 210 Error "a path leads out of the repository": "References stay inside the repository and are relative.",
        "pathRef: ../../../etc/x.yaml" => "pathRef: ./x.yaml";
    CYCLE = 211 Error "references in a circle": "A file refers to itself through others.",
        "pathRef: ./self.yaml    # in self.yaml" => "pathRef: ./train.yaml";
    WRONG_REFERENCE = 212 Error "a reference to the wrong kind": "A reference of an operation names a component; that of a workflow names a component or an operation.",
        "pathRef: ../project.yaml" => "pathRef: ./train.yaml";
    NEEDS_VENDOR = 213 Error "a URL without a copy": "Validation never uses the network: the repository keeps a copy of what a `urlRef` names.",
        "urlRef: https://example.org/train.yaml" => "tidegate vendor https://example.org/train.yaml";
    DAG_ONLY = 214 Error "`dagRef` outside a graph": "`dagRef` names a component of the graph that the operation stands in.",
        "kind: operation\ndagRef: train" => "kind: operation\nhubRef: train";
    ONE_REFERENCE = 215 Error "exactly one reference": "An operation names one component: by `component`, `pathRef`, `hubRef`, `urlRef` or `dagRef`.",
        "hubRef: train\npathRef: ./train.yaml" => "hubRef: train";
    UNSOUND_REFERENCE = 216 Error "what is referred to has errors": "The component or preset that this uses has errors of its own; this waits for them to be mended.",
        "hubRef: train    # components/train.yaml has errors" => "hubRef: train";
    NO_PROJECT = 217 Error "a workflow without a project": "The project is that of the folder `projects/NAME/`, or `project:` of a workflow.",
        "workflows/a.yaml    # at the root" => "projects/vision/workflows/a.yaml";
    OTHER_PROJECT = 218 Error "the folder says another project": "The file stands in the folder of one project and names another.",
        "project: audio    # in projects/vision/" => "project: vision";
    NO_QUEUE = 219 Error "no queue": "Neither the operation nor its component, project or organization names a queue, and there is not exactly one agent whose default could be meant.",
        "kind: operation    # two agents, no defaultQueue" => "queue: us-east/default";
    BAD_IDENTITY = 220 Error "not a name": "Names have lower-case letters, digits and dashes, at most 63 characters.",
        "name: My_Flow" => "name: my-flow";
    UNKNOWN_PROJECT = 221 Error "an unknown project": "No document of kind project has this name, and no folder of `projects/`.",
        "project: visoin" => "project: vision";
    FOREIGN_QUEUE = 222 Error "a queue without an agent": "A queue without an agent means one of the only agent, or of the agent of the organization's default queue.",
        "queue: gpu    # two agents" => "queue: us-east/gpu";
    MISPLACED = 223 Error "a document in the wrong place": "A preset carries `isPreset: true`; a polyaxonfile has no other documents beside it.",
        "presets/spot.yaml: kind: queue" => "queues/us-east/spot.yaml: kind: queue";
    CHANGED_COPY = 224 Error "a copy that is not what it was": "The copy of a URL does not have the digest that stands in `refs/SHA256SUMS`: somebody changed one of the two by hand.",
        "refs/url/example.org/train.yaml    # edited" => "tidegate vendor https://example.org/train.yaml";
    SHARED_NAMESPACE = 225 Error "two agents in one namespace": "What runs in a namespace of a cluster belongs to one agent: two would end each other's runs and count them twice.",
        "kubernetes: {context: eu, namespace: ml}    # in two agents" => "kubernetes: {context: eu, namespace: ml-batch}";
    NOT_IN_GRAPH = 229 Error "an unknown component of the graph": "`dagRef` names one of the `components` of the graph that the operation stands in.",
        "dagRef: trian" => "dagRef: train";
    INNER_GRAPH = 228 Warning "a graph inside a graph that cannot be compiled": "An inner graph is compiled when its turn comes; this one will fail then.",
        "(see the message)" => "(see the message)";

    EMPTY_GRAPH = 230 Error "a graph without operations": "`run: {kind: dag}` has at least one operation.",
        "run: {kind: dag, operations: []}" => "run: {kind: dag, operations: [{name: train, hubRef: train}]}";
    LARGE_GRAPH = 231 Error "a graph is too large": "All graphs of a workflow have at most 20,000 operations together.",
        "(graphs of graphs of graphs)" => "matrix: {kind: grid, …}";
    NAMELESS_OPERATION = 232 Error "an operation of a graph has no name": "Others refer to it by its name.",
        "operations: [{hubRef: train}]" => "operations: [{name: train, hubRef: train}]";
    SAME_OPERATION = 233 Error "a name stands twice in a graph": "Operations of a graph, and its components, have names of their own.",
        "operations: [{name: a, …}, {name: a, …}]" => "operations: [{name: a, …}, {name: b, …}]";
    UNKNOWN_OPERATION = 234 Error "an unknown operation of a graph": "Dependencies, refs and events name operations of the same graph.",
        "dependencies: [trian]" => "dependencies: [train]";
    GRAPH_CIRCLE = 235 Error "operations wait for one another": "A graph has no circles: none of its operations could be the first.",
        "{name: a, dependencies: [b]}\n{name: b, dependencies: [a]}" => "{name: a}\n{name: b, dependencies: [a]}";
    UNKNOWN_VALUE = 236 Error "an input or output that is not declared": "A ref names an input or an output that the component of the other operation declares.",
        "{ref: ops.train, value: outputs.los}" => "{ref: ops.train, value: outputs.loss}";
    BUILD_OF_GRAPH = 237 Error "a graph with a build": "A graph runs in no container, so there is no image to build for it: its operations may each have a `build`.",
        "build: {hubRef: kaniko}\nrun: {kind: dag, operations: […]}" => "operations: [{name: a, build: {hubRef: kaniko}, …}]";

    BAD_CRON = 301 Error "not a crontab line": "Five fields: minute, hour, day of month, month, day of week; or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.",
        "cron: \"60 2 * * *\"" => "cron: \"0 2 * * *\"";
    UNKNOWN_TIME_ZONE = 302 Error "an unknown time zone": "Time zones have the names of the IANA database.",
        "timeZone: Europe/Pari" => "timeZone: Europe/Paris";
    BAD_GLOB = 303 Error "not a glob": "Globs have `*`, `**`, `?`, `[a-z]` and `{a,b}`.",
        "paths: [\"models/[\"]" => "paths: [\"models/**\"]";
    BAD_QUANTITY = 304 Error "not a quantity": "Amounts are written as in Kubernetes.",
        "memory: 16GB" => "memory: 16Gi";
    NEVER_FITS = 305 Warning "asks for more than the queue can ever give": "The operation asks for more of a resource than the quota of its queue or the capacity of its agent: it would wait for ever.",
        "requests: {nvidia.com/gpu: 16}    # quota 8" => "requests: {nvidia.com/gpu: 8}";
    BAD_REGEX = 306 Error "not a regular expression": "The rule `regex` must be one that runs in linear time: no look-around, no back-references.",
        "regex: \"(\"" => "regex: \"^[a-z]+$\"";
    BAD_SCHEDULE = 307 Error "a schedule that cannot be": "Moments and lengths of time must be readable, and the fields must be those of its kind.",
        "schedule: {kind: datetime, startAt: soon}" => "schedule: {kind: datetime, startAt: 2026-01-31T12:00:00Z}";

    BAD_MATRIX = 308 Error "a matrix that cannot be": "The values of a param, the kind of search or a rule of early stopping do not fit together.",
        "lr: {kind: range, value: [10, 1, 2]}" => "lr: {kind: range, value: [1, 10, 2]}";
    BAD_LINK = 309 Error "a join or an event that cannot be": "A join is a query over runs with params; an event names what happens to which operation.",
        "joins: [{query: 'status:succeeded', params: {a: {}}}]" => "joins: [{query: 'status:succeeded', params: {a: {value: outputs.a}}}]";
    EMPTY_SEARCH = 310 Warning "a matrix without points": "A param without values leaves nothing to run.",
        "lr: {kind: range, value: [1, 10, -1]}" => "lr: {kind: range, value: [1, 10, 1]}";
    NOT_KUBERNETES = 311 Warning "not as Kubernetes has it": "Polyaxon passes the inner parts of Kubernetes objects on without a look; Kubernetes ignores or refuses what it does not know.",
        "resources: {cpu: 1}" => "resources: {requests: {cpu: 1}}";
    RULE_WITHOUT_TYPE = 312 Warning "a rule without effect": "Rules for a value (`validation`) are kept by inputs and outputs that say their type.",
        "{name: lr, validation: {lt: 1}}" => "{name: lr, type: float, validation: {lt: 1}}";
    FAILS_LATER = 313 Warning "what fails when it runs": "The file is read, as Polyaxon reads it, but no run can be made of what stands here.",
        "lr: {kind: geomspace, value: [0, 1, 5]}" => "lr: {kind: geomspace, value: [0.01, 1, 5]}";

    REQUIRED_INPUT = 401 Error "an input without a value": "The input has no default and no param gives it a value.",
        "params: {}" => "params: {lr: 0.1}";
    UNKNOWN_PARAM = 402 Error "a param without an input": "The component declares no input or output of this name. `contextOnly: true` makes it a template variable.",
        "params: {rate: 0.1}" => "params: {lr: 0.1}";
    WRONG_VALUE = 403 Error "a value of the wrong type": "The value cannot be read as the type of its input.",
        "params: {epochs: many}    # int" => "params: {epochs: 5}";
    BROKEN_RULE = 404 Error "a value breaks a rule": "The input has a rule (`validation`) that the value breaks.",
        "validation: {gt: 5}\nvalue: 4" => "validation: {gt: 5}\nvalue: 6";
    BAD_REF = 405 Error "a malformed ref": "`ref` is `ops.NAME`, `runs.UUID` or `dag`; its value is the path of what is meant.",
        "ref: foo" => "ref: runs.fcc462d764104eb698d3cca509f34154";
    REF_OUTSIDE = 406 Error "a ref outside a graph": "`ops.NAME` and `dag` mean operations of the same graph; this operation stands in none.",
        "a: {ref: ops.build, value: outputs.image}" => "a: {value: image}";
    RESERVED_NAME = 407 Error "a reserved name": "`globals`, `params` and `connections` are variables of every template.",
        "inputs: [{name: globals}]" => "inputs: [{name: settings}]";
    FLAG_NOT_BOOL = 408 Error "a flag that is not a bool": "`isFlag` writes an input as a flag of a command line, which is there or not.",
        "{name: v, type: int, isFlag: true}" => "{name: v, type: bool, isFlag: true}";
    REQUIRED_WITH_DEFAULT = 409 Error "required, yet with a default": "An input with a default may be left out.",
        "{name: lr, isOptional: false, value: 1}" => "{name: lr, value: 1}";
    UNKNOWN_TYPE = 410 Error "an unknown type": "A value cannot be checked against this type.",
        "{name: x, type: integer, value: 1}" => "{name: x, type: int, value: 1}";

    NOT_YET = 501 Warning "recognised, but cannot run yet": "The text is understood, but this version does not run it: the workflow is declared and starts nothing.",
        "run: {kind: tfjob}" => "run: {kind: job}";
    NO_EFFECT = 502 Warning "a field without effect": "The target of the operation does nothing with this field. The run starts, and its timeline says the same.",
        "container: {image: a, command: [b]}    # on a local agent" => "container: {command: [b]}";
    BAD_PATCH = 503 Error "the patch does not fit": "With the patch merged in, `run` is not valid.",
        "runPatch: {contaner: {image: a}}" => "runPatch: {container: {image: a}}";
    OTHER_VALUE = 504 Error "a param that cannot be prepared": "`toInit` needs an input with a connection or of type git, dockerfile, file or artifacts.",
        "{name: x, type: int, toInit: true}" => "{name: x, type: git, toInit: true}";
}
