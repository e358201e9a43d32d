//! What handlers take: bodies and queries whose faults are told in the API's own form, run ids, and who asks.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::Api;
use super::error::ApiError;
use crate::domain::dispatch::history::RunRow;
use crate::domain::ids::RunId;
use crate::store::{History, StoreError};

/// A JSON body.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let read = axum::Json::<T>::from_request(request, state).await;
        read.map(|axum::Json(body)| Self(body)).map_err(|why: JsonRejection| match why.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let message = format!("the body is larger than {} MiB", super::MAX_BODY >> 20);
                ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "tooLarge", message)
            }
            _ => ApiError::bad_request(why.body_text()),
        })
    }
}

/// The query of an address; unknown parameters are errors, so that a misspelt filter does not silently list all.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let read = Query::<T>::from_request_parts(parts, state).await;
        read.map(|Query(query)| Self(query)).map_err(|why: QueryRejection| ApiError::bad_request(why.body_text()))
    }
}

/// The run that an address names by its id or by a beginning of it that no other run shares.
pub struct OneRun(pub RunRow);

impl FromRequestParts<Api> for OneRun {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, api).await;
        let Path(text) = path.map_err(|why: PathRejection| ApiError::bad_request(why.body_text()))?;
        api.find_run(text).await.map(Self)
    }
}

/// Who asks, for the record. A token says it for certain; without tokens it is what the client says of itself.
#[derive(Clone, Debug)]
pub struct Actor(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self("api".to_owned())))
    }
}

impl Api {
    /// Asks the history on a thread that may wait.
    pub(super) async fn history<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn History) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, ApiError> {
        let history = self.control.engine().history().clone();
        let answer = tokio::task::spawn_blocking(move || ask(history.as_ref())).await;
        answer
            .map_err(|_| ApiError::internal("reading the history failed: the log of the server says more"))?
            .map_err(ApiError::from)
    }

    /// The run of an id, or of the beginning of one.
    pub(super) async fn find_run(&self, text: String) -> Result<RunRow, ApiError> {
        self.history(move |history| {
            if let Some(id) = RunId::parse(&text) {
                let row = history.run(id)?;
                return Ok(row.ok_or_else(|| ApiError::not_found(format!("there is no run {id}"))));
            }
            let shown: String = text.chars().take(64).collect();
            Ok(match history.find(&text)?.as_slice() {
                [] => Err(ApiError::not_found(format!("there is no run whose id begins with `{shown}`"))),
                [one] => history.run(*one)?.ok_or_else(|| ApiError::not_found(format!("there is no run {one}"))),
                many => {
                    let ids: Vec<String> = many.iter().map(RunId::to_string).collect();
                    Err(ApiError::conflict(format!("several runs begin with `{shown}`: {}", ids.join(", "))))
                }
            })
        })
        .await?
    }
}
