//! The table of routes: what each path requires of the user.
//!
//! A router is only built here, by [`Routes`], and every route is added with its [`Needs`]: a handler about which nothing was
//! decided does not compile. The decision is enforced in front of the handler. What statements require in addition is
//! decided in `engine::execute`, statement by statement, whichever route they came through.

use super::auth::node::FromNode;
use super::error;
use crate::engine::access::audit::Audit;
use crate::engine::access::{Principal, Role};
use crate::error::Error;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post, put};
use serde_json::json;

/// What a route requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: load balancers probe it without credentials.
    Nothing,
    /// A user of this role, or of one above it.
    Role(Role),
    /// The same, and rights to all topics: the response covers all of them.
    AllTopics(Role),
    /// That another process of the service has sent it.
    Node,
}

/// A route and what it requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// GET, POST, PUT or DELETE.
    pub method: Method,
    /// As axum writes it, `{name}` for what varies.
    pub path: &'static str,
    /// What it requires.
    pub needs: Needs,
}

impl Route {
    /// Whether a path of a request is this route's.
    pub(super) fn has(&self, path: &str) -> bool {
        let mut parts = path.split('/');
        for pattern in self.path.split('/') {
            match (pattern, parts.next()) {
                (pattern, Some(_)) if pattern.starts_with("{*") => return true,
                (pattern, Some(part)) if pattern == part || pattern.starts_with('{') => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    }
}

/// Routes on their way to a router.
pub(super) struct Routes<S> {
    router: Router<S>,
    table: Vec<Route>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub(super) fn new() -> Routes<S> {
        Routes { router: Router::new(), table: Vec::new() }
    }

    pub(super) fn get<T: 'static>(self, path: &'static str, needs: Needs, handler: impl Handler<T, S>) -> Routes<S> {
        self.add(Method::GET, path, needs, get(handler))
    }

    pub(super) fn post<T: 'static>(self, path: &'static str, needs: Needs, handler: impl Handler<T, S>) -> Routes<S> {
        self.add(Method::POST, path, needs, post(handler))
    }

    pub(super) fn put<T: 'static>(self, path: &'static str, needs: Needs, handler: impl Handler<T, S>) -> Routes<S> {
        self.add(Method::PUT, path, needs, put(handler))
    }

    pub(super) fn delete<T: 'static>(self, path: &'static str, needs: Needs, handler: impl Handler<T, S>) -> Routes<S> {
        self.add(Method::DELETE, path, needs, delete(handler))
    }

    fn add(mut self, method: Method, path: &'static str, needs: Needs, handler: MethodRouter<S>) -> Routes<S> {
        let handler = match needs {
            Needs::Nothing => handler,
            _ => handler.route_layer(from_fn(move |request: Request, next: Next| allowed(needs, request, next))),
        };
        self.router = self.router.route(path, handler);
        self.table.push(Route { method, path, needs });
        self
    }

    /// Bounds the bodies of the routes that are here by now.
    pub(super) fn layer(self, limit: DefaultBodyLimit) -> Routes<S> {
        Routes { router: self.router.layer(limit), ..self }
    }

    /// What each route requires.
    pub(super) fn table(&self) -> &[Route] {
        &self.table
    }

    pub(super) fn into_router(self) -> Router<S> {
        self.router
    }
}

/// Lets a request pass whose user has what the route requires. A request without a user has not passed a guard.
async fn allowed(needs: Needs, request: Request, next: Next) -> Response {
    if needs == Needs::Node {
        return match request.extensions().get::<FromNode>() {
            Some(FromNode) => next.run(request).await,
            None => {
                let error = Error::statement("only processes of the service may ask this").with_code(40300);
                error::response_at(request.uri().path(), &error)
            }
        };
    }
    let Some(principal) = request.extensions().get::<Principal>() else {
        return error::response_at(request.uri().path(), &Error::bug("a request without a user").with_code(50000));
    };
    let what = format!("{} {}", request.method(), request.uri().path());
    let checked = match needs {
        Needs::Nothing | Needs::Node => Ok(()),
        Needs::Role(role) => principal.require(role, &what),
        Needs::AllTopics(role) => principal.require(role, &what).and_then(|()| principal.require_all_topics(&what)),
    };
    match checked {
        Ok(()) => next.run(request).await,
        Err(e) => {
            if let Some(audit) = request.extensions().get::<Audit>() {
                audit.note("request", principal, json!({ "request": what }), Err(&e));
            }
            error::response_at(request.uri().path(), &e)
        }
    }
}
