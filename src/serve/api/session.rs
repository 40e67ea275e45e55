//! `/api/v1/session`: who the caller is, a login that leaves a cookie, a logout.
//!
//! ```text
//! GET    -> {"user":"alice","role":"writer","authentication":"users"}
//! POST   {"user":"alice","password":"..."} or {"token":"..."}  -> the same, with a cookie
//! DELETE -> {"user":null,"role":null,"authentication":"users"}, and the cookie is deleted
//! ```
//!
//! A login is checked as one by the `authorization` header is, within the same bounds (`auth::login`). On a server without
//! users it succeeds without a cookie: every request is one of an administrator's there.

use crate::engine::access::Principal;
use crate::error::{Error, Result};
use crate::serve::App;
use crate::serve::auth::guard::{later, unauthorized, whole_body};
use crate::serve::auth::login::{Entry, Logins};
use crate::serve::auth::sessions::{cookie, set_cookie};
use crate::serve::error::api_response;
use crate::serve::ksql::read;
use crate::serve::limits::LOGIN_BYTES_MAX;
use crate::serve::net::connection::Connection;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::HeaderMap;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Json, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::Instant;

/// What a login is sent.
#[derive(Deserialize)]
struct Login {
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

impl Login {
    /// The same as an `authorization` header.
    fn header(&self) -> Result<String> {
        match (&self.user, &self.password, &self.token) {
            (Some(user), Some(password), None) => {
                Ok(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            (None, None, Some(token)) => Ok(format!("Bearer {token}")),
            _ => Err(Error::statement("a login has a user and a password, or a token").with_code(40000)),
        }
    }
}

/// A session as data.
fn described(app: &App, user: Option<&Principal>) -> Value {
    json!({
        "user": user.map(|user| &*user.name),
        "role": user.map(|user| app.engine.role_of(user).name()),
        "authentication": if app.logins.is_some() { "users" } else { "none" },
    })
}

/// Who the caller is.
pub(super) async fn show(State(app): State<Arc<App>>, Extension(user): Extension<Principal>) -> Response {
    Json(described(&app, Some(&user))).into_response()
}

/// Logs in.
pub(super) async fn open(State(app): State<Arc<App>>, request: Request) -> Response {
    let connection = request.extensions().get::<Arc<Connection>>().cloned().unwrap_or_default();
    // The guard names one on a server without users.
    let user = request.extensions().get::<Principal>().cloned();
    let (head, body) = request.into_parts();
    let login = match sent(body).await {
        Ok(login) => login,
        Err(e) => return api_response(&e, None),
    };
    let Some(logins) = &app.logins else {
        return Json(described(&app, user.as_ref())).into_response();
    };
    opened(&app, logins, &login, &head.headers, &connection).await.unwrap_or_else(|e| api_response(&e, None))
}

async fn opened(
    app: &App,
    logins: &Arc<Logins>,
    login: &Login,
    headers: &HeaderMap,
    connection: &Connection,
) -> Result<Response> {
    let address = connection.address;
    let user = match logins.by_header(&login.header()?, address.map(|address| address.ip())).await {
        Entry::Granted(user) => user.at(address),
        Entry::Later(wait) => return Ok(later(wait, true)),
        Entry::Refused => {
            app.engine.audit().login_failed(login.user.as_deref().unwrap_or_default(), address);
            return Ok(unauthorized(true));
        }
    };
    connection.is_known();
    app.engine.audit().note("login", &user, json!({ "session": true }), Ok(()));
    let body = described(app, Some(&user));
    let value = logins.sessions.open(user, Instant::now())?;
    Ok(([(SET_COOKIE, set_cookie(headers, &value, app.is_secure))], Json(body)).into_response())
}

/// The body of a login. No user is known yet, so it is short.
async fn sent(body: Body) -> Result<Login> {
    read(&whole_body(body, LOGIN_BYTES_MAX).await?)
}

/// Logs out.
pub(super) async fn close(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    if let (Some(logins), Some(value)) = (&app.logins, cookie(&headers)) {
        logins.sessions.close(value);
    }
    ([(SET_COOKIE, set_cookie(&headers, "", app.is_secure))], Json(described(&app, None))).into_response()
}
