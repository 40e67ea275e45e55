//! One connection: its address, its user, and its open requests.
//!
//! With users, connections are counted by address until one of their requests has authenticated, so that one
//! machine without a password cannot use up all connections.

use crate::serve::limits::{IDLE_PATIENCE, UNAUTHENTICATED_MAX};
use axum::Router;
use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::sleep;

/// How often a connection is looked at; it may be quiet for as much longer than it should.
const LOOK: Duration = Duration::from_secs(5);

/// What is known of a connection; each request of it carries this.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// The other side's; `None` = a process of this machine.
    pub(crate) address: Option<SocketAddr>,
    /// Names in the client certificate, if there is one.
    pub(crate) names: Vec<String>,
    /// Requests whose responses have not been sent yet.
    open: AtomicUsize,
    /// Requests so far.
    requests: AtomicU64,
    stranger: Mutex<Option<Stranger>>,
    /// The user of the previous request.
    user: Mutex<Option<Arc<str>>>,
}

impl Connection {
    pub(crate) fn new(address: Option<SocketAddr>, names: Vec<String>, stranger: Option<Stranger>) -> Arc<Connection> {
        Arc::new(Connection { address, names, stranger: Mutex::new(stranger), ..Connection::default() })
    }

    /// A request of it was from a user.
    pub(crate) fn is_known(&self) {
        drop(self.stranger.lock().take());
    }

    /// Was the previous request of another user, or is this the first?
    pub(crate) fn is_new_here(&self, name: &Arc<str>) -> bool {
        let before = self.user.lock().replace(name.clone());
        before.as_ref() != Some(name)
    }

    /// Completes when no request has been open for [`IDLE_PATIENCE`].
    pub(crate) async fn quiet(&self) {
        let (mut quiet, mut before) = (Duration::ZERO, 0);
        while quiet < IDLE_PATIENCE {
            sleep(LOOK).await;
            let requests = self.requests.load(Ordering::Acquire);
            let is_quiet = self.open.load(Ordering::Acquire) == 0 && requests == before;
            quiet = if is_quiet { quiet + LOOK } else { Duration::ZERO };
            before = requests;
        }
    }
}

/// Unauthenticated connections by address.
#[derive(Debug, Default)]
pub(crate) struct Unauthenticated(Mutex<HashMap<IpAddr, usize>>);

/// One of them.
#[derive(Debug)]
pub(crate) struct Stranger {
    all: Arc<Unauthenticated>,
    address: IpAddr,
}

impl Unauthenticated {
    /// A place for one more from there; `None` = it has as many as it may have.
    pub(crate) fn enter(self: &Arc<Unauthenticated>, address: IpAddr) -> Option<Stranger> {
        let mut all = self.0.lock();
        let count = all.entry(address).or_default();
        if *count >= UNAUTHENTICATED_MAX {
            return None;
        }
        *count += 1;
        Some(Stranger { all: self.clone(), address })
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut all = self.all.0.lock();
        if let Some(count) = all.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.address);
            }
        }
    }
}

/// Serves the requests of one connection and counts those that are open.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    router: TowerToHyperService<Router>,
    connection: Arc<Connection>,
}

impl Counted {
    pub(crate) fn new(router: Router, connection: Arc<Connection>) -> Counted {
        Counted { router: TowerToHyperService::new(router), connection }
    }
}

impl Service<Request<Incoming>> for Counted {
    type Response = Response<Counting>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Counting>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let open = Open::new(self.connection.clone());
        request.extensions_mut().insert(self.connection.clone());
        let answer = self.router.call(request);
        Box::pin(async move { answer.await.map(|response| response.map(|body| Counting { body, _open: open })) })
    }
}

/// A request that is open.
#[derive(Debug)]
struct Open(Arc<Connection>);

impl Open {
    fn new(connection: Arc<Connection>) -> Open {
        connection.open.fetch_add(1, Ordering::AcqRel);
        connection.requests.fetch_add(1, Ordering::AcqRel);
        Open(connection)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The body of a response; its request is open until the body is dropped.
#[derive(Debug)]
pub(crate) struct Counting {
    body: Body,
    _open: Open,
}

impl HttpBody for Counting {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
