//! What is prepared before the main container: repositories, files, artifacts of other runs.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::container::Container;
use super::extras::{section, words};
use super::loose::{Flag, Templated, Whole};

section! { "What is prepared before the main container: at most one of artifacts, paths, git, dockerfile, file, tensorboard and the refs." Init {
    "artifacts": Option<Templated<Artifacts>>, "Files of earlier runs.";
    "paths": Option<Paths>, "Paths of the connection: one, several, or pairs of from and to.", "data";
    "git": Option<Templated<Git>>, "A repository.";
    "dockerfile": Option<Templated<Dockerfile>>, "A Dockerfile to generate.";
    "file": Option<Templated<FileToWrite>>, "A file to write.";
    "tensorboard": Option<Templated<Tensorboard>>, "Runs for Tensorboard.";
    "lineageRef": Option<String>, "An artifact by its lineage.";
    "modelRef": Option<String>, "A version of a model.";
    "artifactRef": Option<String>, "A version of an artifact.";
    "connection": Option<String>, "The connection that it is read through.";
    "path": Option<String>, "Where it is mounted.";
    "container": Option<Container>, "Settings of the init container.";
} }

section! { "A repository." Git {
    "url": Option<String>, "Its address.", "https://github.com/acme/models";
    "revision": Option<String>, "The commit, tag or branch.", "main";
    "flags": Option<Templated<Vec<String>>>, "Further arguments of `git`.";
} }

section! { "Files of earlier runs." Artifacts {
    "files": Option<Templated<Vec<PathOrPair>>>, "Files, or pairs of from and to.";
    "dirs": Option<Templated<Vec<PathOrPair>>>, "Folders, or pairs of from and to.";
    "workers": Option<Templated<i64>>, "How many are copied at the same time.";
} }

section! { "A file to write." FileToWrite {
    "content": String | required, "What it holds.";
    "filename": Option<String>, "Its name.";
    "chmod": Option<String>, "Its mode.", "+x";
    "kind": Option<Templated<ArtifactKind>>, "What it is recorded as.";
} }

section! { "An event, as a value of an input." EventValue {
    "name": Option<String>, "Its name.";
    "kind": Option<String>, "Its kind.";
} }

section! { "Runs for Tensorboard." Tensorboard {
    "port": Option<Templated<i64>>, "The port.";
    "uuids": Option<Uuids>, "The runs.";
    "useNames": Option<Flag>, "Whether runs are shown by name.";
    "pathPrefix": Option<String>, "The prefix of its address.";
    "plugins": Option<super::component::Words>, "Its plugins.";
} }

section! { "A Dockerfile to generate." Dockerfile {
    "image": ImageName | required, "The image to start from.", "python:3.12";
    "env": Option<Variables>, "Environment variables: a mapping, or pairs.";
    "path": Option<Templated<Vec<String>>>, "Paths to put on PATH.";
    "copy": Option<Templated<Vec<PathOrPair>>>, "What is copied in first.";
    "postRunCopy": Option<Templated<Vec<PathOrPair>>>, "What is copied in last.";
    "run": Option<Templated<Vec<String>>>, "Commands.";
    "langEnv": Option<String>, "The locale.";
    "uid": Whole, "The user id.";
    "gid": Whole, "The group id.";
    "username": Option<String>, "The user.";
    "userHome": Option<String>, "The home of the user.";
    "filename": Option<String>, "The name of the file.";
    "workdir": Option<String>, "The directory to start in.";
    "workdirPath": Option<String>, "What is copied to it.";
    "shell": Option<String>, "The shell.";
} }

words! { "What an artifact is recorded as." ArtifactKind [
    "model", "audio", "video", "histogram", "image", "tensor", "dataframe", "chart", "csv", "tsv", "psv", "ssv", "metric",
    "env", "html", "text", "file", "dir", "dockerfile", "docker_image", "data", "coderef", "table", "tensorboard",
    "curve", "confusion", "analysis", "iteration", "markdown", "system", "span", "artifact"
] }

macro_rules! shapes {
    ($(#[doc = $doc:literal] $name:ident { $($schema:tt)* })*) => {$(
        #[doc = $doc]
        #[derive(Debug)]
        pub struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ $($schema)*, "description": $doc.trim() })
            }
        }
    )*};
}

shapes! {
    /// The name of an image, without spaces.
    ImageName { "type": "string", "pattern": r"^\S+$|\{\{.+\}\}", "examples": ["python:3.12"] }
    /// A path, or a list of paths (from and to).
    PathOrPair { "type": ["string", "array"], "items": { "type": "string" } }
    /// A path, or a list of paths and pairs; or a template.
    Paths { "type": ["string", "array", "null"], "items": { "type": ["string", "array"], "items": { "type": "string" } } }
    /// A list of UUIDs, or UUIDs with commas between; or a template.
    Uuids { "type": ["string", "array", "null"], "pattern": r"^[-0-9a-fA-F, {}]+$|\{\{.+\}\}", "items": {
        "type": "string", "pattern": r"^(urn:uuid:)?[{]?[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}[}]?$|\{\{.+\}\}",
        "description": "A UUID.", "examples": ["fcc462d7-6410-4eb6-98d3-cca509f34154"]
    } }
    /// A mapping, or a list of pairs; or a template.
    Variables { "type": ["object", "array", "string", "null"], "items": { "type": "array" }, "pattern": r"\{\{\s*.+\s*\}\}", "examples": [{"LANG": "C.UTF-8"}] }
}
