//! What went wrong with a request, and whose trouble it is: the run's, the agent's, or only the moment's.

use kube::core::Status;

use super::connect::chain;
use crate::domain::dispatch::observation::Cause;
use crate::domain::kubernetes::pod::cut;

/// The reason of an attempt whose object a policy or webhook of the cluster refused.
pub const REFUSED: &str = "AdmissionDenied";
/// The reason of an attempt whose object the API server finds wrong.
pub const INVALID: &str = "InvalidObject";

/// The reason of a request that the API server has no time for.
pub const BUSY: &str = "ApiBusy";

/// Why a request was not answered as hoped.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    /// There is such an object already.
    Exists,
    /// There is no such object.
    NotFound,
    /// The run asks for what the cluster does not take; trying again changes nothing.
    Refused(Cause),
    /// Not now: a quota is used up, a webhook is down, the API server is busy. Trying again helps.
    Later(Cause),
    /// The agent cannot work as it is: credentials, rights, namespace.
    Agent(String),
    /// No answer.
    Unreachable(String),
}

/// How the trouble of an agent begins whose namespace is not there.
const NO_NAMESPACE: &str = "its namespace does not exist";

impl Trouble {
    /// Whether what was asked for is simply not there; its namespace counts.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NotFound) || matches!(self, Self::Agent(why) if why.starts_with(NO_NAMESPACE))
    }

    /// It, for people.
    pub fn message(&self) -> String {
        match self {
            Self::Exists => "there is such an object already".to_owned(),
            Self::NotFound => "there is no such object".to_owned(),
            Self::Refused(cause) | Self::Later(cause) => cause.message.clone(),
            Self::Agent(why) | Self::Unreachable(why) => why.clone(),
        }
    }
}

/// Reads an error of the client.
pub fn trouble_of(error: &kube::Error) -> Trouble {
    match error {
        kube::Error::Api(status) => of_status(status),
        kube::Error::Auth(_) => Trouble::Agent(format!("its credentials cannot be had: {}", chain(error))),
        _ => Trouble::Unreachable(chain(error)),
    }
}

/// Reads an answer of the API server.
pub fn of_status(status: &Status) -> Trouble {
    let message = cut(status.message.trim());
    let later = |reason: &str| Trouble::Later(Cause::new(reason, format!("the API server says: {message}")));
    match status.code {
        401 => Trouble::Agent(format!("the cluster does not accept its credentials: {message}")),
        403 if message.contains("exceeded quota") => Trouble::Later(Cause::new(
            "QuotaExceeded",
            format!(
                "the quota of the namespace leaves no room for it: {message}. It is tried again; raise the quota, or the agent's `capacity` should be as small."
            ),
        )),
        403 if message.contains("being terminated") => {
            Trouble::Agent(format!("its namespace is being deleted: {message}"))
        }
        // Rights are the agent's trouble, a policy that says no is the run's.
        403 if message.contains(" cannot ") && message.contains("in API group") => {
            Trouble::Agent(format!("its account lacks a right: {message}"))
        }
        403 => Trouble::Refused(Cause::new(REFUSED, format!("the cluster refused its object: {message}"))),
        404 if message.contains("namespaces \"") => Trouble::Agent(format!("{NO_NAMESPACE}: {message}")),
        404 | 410 => Trouble::NotFound,
        409 if status.reason == "AlreadyExists" => Trouble::Exists,
        429 => later(BUSY),
        // A webhook answers with a code of its own choosing.
        400..=499 if message.contains("admission webhook") || message.contains("AdmissionPolicy") => {
            Trouble::Refused(Cause::new(REFUSED, format!("the cluster refused its object: {message}")))
        }
        409 => later("Conflict"),
        408 => later("ApiTimeout"),
        400..=499 => {
            Trouble::Refused(Cause::new(INVALID, format!("the API server does not take its object: {message}")))
        }
        500..=599 if message.contains("webhook") => later("WebhookFailed"),
        _ => later("ApiError"),
    }
}
