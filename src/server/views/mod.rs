//! What goes over the wire, and nothing else: camelCase JSON, moments in RFC 3339, ids as 32 hexadecimal digits.
//!
//! The command line reads the same types. Fields are only ever added.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;

macro_rules! view {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
    };
}

mod pipelines;
mod plan;
mod policy;
mod runs;
mod sync;

pub use pipelines::*;
pub use plan::*;
pub use policy::*;
pub use runs::*;
pub use sync::*;

view! {
    /// Whether anything had to be done.
    DoneView {
        /// False when it was so already.
        changed: bool,
    }
}

view! {
    /// The body of every answer that is an error.
    ErrorBody {
        /// The error.
        error: ErrorView,
    }
}

view! {
    /// What went wrong.
    ErrorView {
        /// For programs; stable.
        code: String,
        /// For people.
        message: String,
        /// How to mend it; may be empty.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        help: String,
        /// Problems of what was sent.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        diagnostics: Vec<DiagnosticView>,
    }
}

fn moment(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}
