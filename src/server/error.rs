//! Errors as the API says them: `{"error": {code, message, help, diagnostics}}` and a status.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::views::{ErrorBody, ErrorView, diagnostics};
use crate::control::ControlError;
use crate::domain::diagnostic::{Diagnostics, counted};
use crate::domain::dispatch::command::{Outcome, Rejection};
use crate::engine::EngineError;
use crate::store::StoreError;

/// An answer that is not what was asked for.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    view: ErrorView,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let view =
            ErrorView { code: code.into(), message: message.into(), help: String::new(), diagnostics: Vec::new() };
        Self { status, view }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.view.help = help.into();
        self
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "badRequest", message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "notFound", message)
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    pub fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    pub fn invalid(found: &Diagnostics) -> Self {
        let message = format!("what was sent has {}", counted(found.errors(), "error"));
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message);
        error.view.diagnostics = diagnostics(found);
        error
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorBody { error: self.view })).into_response()
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        let message = rejection.to_string();
        match rejection {
            Rejection::Stale { .. } => Self::new(StatusCode::CONFLICT, "stale", message),
            Rejection::NoSuchRun(_)
            | Rejection::NoSuchQueue(_)
            | Rejection::NoSuchAgent(_)
            | Rejection::NoSuchPipeline(_) => Self::not_found(message),
            Rejection::NotFinished(_)
            | Rejection::NotWaiting(_)
            | Rejection::QueueRemoved(_)
            | Rejection::AgentUp(_) => Self::conflict(message),
            Rejection::TooManyRuns(_) => Self::busy(message),
        }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Stopped => Self::busy(error.to_string()),
            EngineError::Store(_) => Self::internal(error.to_string()),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the history cannot be read");
        Self::internal(format!("the history cannot be read: {error}"))
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Invalid(found) => Self::invalid(&found),
            ControlError::Refused(rejection) => rejection.into(),
            ControlError::Engine(error) => error.into(),
            ControlError::History(error) => error.into(),
            ControlError::NotFound(message) => Self::not_found(message),
            ControlError::Conflict(message) | ControlError::Source(message) => Self::conflict(message),
        }
    }
}

/// What a command came to, when it was not refused: whether anything had to be done.
pub fn accepted(outcome: Outcome) -> Result<bool, ApiError> {
    match outcome {
        Outcome::Done => Ok(true),
        Outcome::Already => Ok(false),
        Outcome::Refused(rejection) => Err(rejection.into()),
    }
}
