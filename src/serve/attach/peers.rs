//! Lookups between the processes of a service: the client that asks the owner of a query, and the endpoint that serves it.
//!
//! ```text
//! POST /cluster/lookup {"text":"SELECT ...","properties":{..},"query":"CTAS_T_1","topic":"T","user":"ada","role":"reader"}
//!      the frames of a statement (`protocol`): r, b..., d          or f, of kind Fenced where the query does not run there
//! ```
//!
//! Connections are kept, and used by one lookup at a time; one whose rows are no longer read is closed, which ends the lookup there.
//! One thread drives all of them. Each process is believed who the user is because it knows the secret of the service
//! (`auth::node`); what the user may do is checked again by the engine that is asked.

use super::protocol::{Frame, FrameDecoder, Reply, ReplyBody, output_columns};
use super::server::{AttachService, FrameSender, framed, pump, stream_permit};
use crate::config::{Config, NodeSecret};
use crate::engine::query::pull::forward::{Forwarding, Lookup, NotServed};
use crate::engine::query::pull::owners::Peer;
use crate::engine::result::rows::{OutputColumn, RowEvent, RowStream};
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::http_client::{HttpClient, RequestError, TlsFiles};
use crate::present::Outcome;
use crate::serve::auth::node::{FromNode, NODE};
use crate::serve::ksql::read_any;
use crate::serve::limits::BODY_BYTES_MAX;
use crate::serve::routes::{Needs, Routes};
use axum::body::Bytes as BodyBytes;
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, StatusCode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

/// Where lookups are sent.
const PATH: &str = "/cluster/lookup";
/// Lookups that wait for other processes at once; a further one reads what this process has.
const LOOKUPS_MAX: usize = 256;
/// Frames of one lookup that wait for their reader.
const QUEUED_FRAMES: usize = 16;
/// How often a lookup without a response is looked after.
const LOOK: Duration = Duration::from_millis(50);
/// Largest response that is no rows.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// The request's body.
#[derive(Debug, Serialize, Deserialize)]
struct LookupRequest {
    text: String,
    properties: BTreeMap<String, String>,
    query: String,
    topic: String,
    user: String,
    role: String,
}

/// Asks other processes.
pub(crate) struct Peers {
    /// Started by the first lookup.
    driver: Mutex<Option<Arc<Driver>>>,
    secret: Option<NodeSecret>,
    tls: TlsFiles,
    /// By address.
    clients: Mutex<HashMap<Arc<str>, HttpClient>>,
    places: Arc<Semaphore>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clients.lock().keys()).finish()
    }
}

/// The thread that drives the connections; the last lookup that reads holds it, too.
struct Driver(Option<Runtime>);

impl Driver {
    fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is there until it is dropped").handle()
    }
}

impl Drop for Driver {
    /// A runtime must not wait for its threads where it is dropped on a thread of another one.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What arrives of a response.
type Arrival = Result<Frame, NotServed>;

impl Peers {
    /// Asks with this secret. No connection is made, and no thread started.
    pub(crate) fn new(config: &Config, secret: Option<NodeSecret>) -> Peers {
        Peers {
            driver: Mutex::default(),
            secret,
            tls: TlsFiles { ca: config.cluster_ca(), cert: None, key: None },
            clients: Mutex::default(),
            places: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        }
    }

    fn driver(&self) -> Result<Arc<Driver>> {
        let mut driver = self.driver.lock();
        if let Some(driver) = &*driver {
            return Ok(driver.clone());
        }
        let started = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("peers")
            .enable_all()
            .build()
            .map_err(|e| Error::io("the thread for other processes cannot start").because(e))?;
        Ok(driver.insert(Arc::new(Driver(Some(started)))).clone())
    }

    /// The client of a process. There are as many as there were addresses of processes.
    fn client(&self, address: &Arc<str>) -> Result<HttpClient> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(address) {
            return Ok(client.clone());
        }
        let client = HttpClient::kept(address.trim_end_matches('/').to_owned(), &self.tls)?;
        let client = match &self.secret {
            Some(secret) => client.with_header(NODE, &secret.token())?,
            None => client,
        };
        clients.insert(address.clone(), client.clone());
        Ok(client)
    }
}

impl Forwarding for Peers {
    fn ask(
        &self,
        peer: &Peer,
        lookup: &Lookup<'_>,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Box<dyn RowStream>, NotServed> {
        let elsewhere = |why: &str| NotServed::Elsewhere(Error::new(Kind::Busy, why.to_owned()));
        let Some(address) = &peer.address else { return Err(elsewhere("it has no address")) };
        let driver = self.driver().map_err(NotServed::Elsewhere)?;
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| elsewhere(&format!("{LOOKUPS_MAX} lookups wait for other processes")))?;
        let client = self.client(address).map_err(NotServed::Elsewhere)?;
        let request = LookupRequest {
            text: lookup.text.to_owned(),
            properties: lookup.properties.clone(),
            query: lookup.query.to_owned(),
            topic: lookup.topic.to_owned(),
            user: lookup.user.name.to_string(),
            role: lookup.user.role.name().to_owned(),
        };
        let body = serde_json::to_vec(&request).map_err(|e| elsewhere(&e.to_string()))?;
        let (sender, arrivals) = mpsc::channel(QUEUED_FRAMES);
        driver.handle().spawn(receive(client, Bytes::from(body), sender));
        let mut rows = PeerRows { driver, columns: Vec::new(), notice: None, arrivals, _place: place };
        loop {
            match rows.arrival(LOOK) {
                None if !is_wanted() => return Err(elsewhere("it does not respond in time")),
                None => {}
                Some(Ok(Frame::Reply(reply))) => {
                    let ReplyBody::Rows { columns, .. } = reply.result else {
                        return Err(elsewhere("it returns no rows"));
                    };
                    rows.columns = output_columns(columns);
                    return Ok(Box::new(rows));
                }
                Some(Ok(Frame::Failed(error))) => return Err(NotServed::of(error)),
                Some(Ok(_)) => return Err(elsewhere("its response is not one to a lookup")),
                Some(Err(failed)) => return Err(failed),
            }
        }
    }
}

/// Sends a lookup and forwards the frames of its response until it ends or its reader is gone.
async fn receive(client: HttpClient, body: Bytes, sender: mpsc::Sender<Arrival>) {
    let failed = |text: String| NotServed::Elsewhere(Error::io(text));
    let work = async {
        let response = client.request(Method::POST, PATH, body).await.map_err(|e| match e {
            RequestError::NotSent(cause) | RequestError::NoResponse(cause) => failed(cause.to_string()),
        })?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response.status(), response.into_body()).await);
        }
        let (mut body, mut frames) = (response.into_body(), FrameDecoder::default());
        while let Some(part) = body.frame().await {
            let part = part.map_err(|e| failed(e.to_string()))?;
            if let Ok(bytes) = part.into_data() {
                frames.push(&bytes);
            }
            while let Some(frame) = frames.take().map_err(NotServed::Elsewhere)? {
                if sender.send(Ok(frame)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    };
    let result = tokio::select! {
        result = work => result,
        // What is not read any more is not waited for, either: the connection is closed.
        () = sender.closed() => return,
    };
    if let Err(error) = result {
        let _ = sender.send(Err(error)).await;
    }
}

/// Why a process does not accept the request.
async fn refusal(status: StatusCode, body: Incoming) -> NotServed {
    let text = http_body_util::Limited::new(body, ERROR_BYTES_MAX).collect().await;
    let text = text.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
    let body: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let message = body["message"].as_str().unwrap_or_default();
    NotServed::Elsewhere(Error::io(format!("it returned {status} {message}")))
}

/// Rows of a lookup in another process.
struct PeerRows {
    driver: Arc<Driver>,
    columns: Vec<OutputColumn>,
    notice: Option<String>,
    arrivals: mpsc::Receiver<Arrival>,
    _place: OwnedSemaphorePermit,
}

impl PeerRows {
    /// The next arrival; `None` if there is none within `wait`.
    fn arrival(&mut self, wait: Duration) -> Option<Arrival> {
        let cut_off = || Err(NotServed::Elsewhere(Error::io("the response is incomplete")));
        let arrivals = &mut self.arrivals;
        let arrived = self.driver.handle().block_on(async { timeout(wait, arrivals.recv()).await });
        arrived.ok().map(|arrival| arrival.unwrap_or_else(cut_off))
    }
}

impl RowStream for PeerRows {
    fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn next(&mut self, timeout: Duration) -> Result<RowEvent> {
        loop {
            match self.arrival(timeout) {
                None => return Ok(RowEvent::Idle),
                Some(Ok(Frame::Rows { columns, tombstones })) => return Ok(RowEvent::Rows { columns, tombstones }),
                Some(Ok(Frame::Done(why))) => return Ok(RowEvent::Done(why)),
                Some(Ok(Frame::Notice(text))) => self.notice = text,
                Some(Ok(Frame::Failed(error)) | Err(NotServed::Elsewhere(error) | NotServed::Failed(error))) => {
                    return Err(error);
                }
                Some(Ok(Frame::Reply(_) | Frame::Scanned(_) | Frame::AtEnd)) => {}
            }
        }
    }

    fn notice(&self) -> Option<String> {
        self.notice.clone()
    }
}

/// The route for other processes.
pub(crate) fn routes() -> Routes<Arc<AttachService>> {
    Routes::new().post(PATH, Needs::Node, lookup).layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn lookup(
    State(service): State<Arc<AttachService>>,
    Extension(sender): Extension<FromNode>,
    body: BodyBytes,
) -> Response {
    framed(move |frames| serve(&service, sender, read_any(&body)?, frames))
}

fn serve(service: &AttachService, from: FromNode, request: LookupRequest, sender: &FrameSender) -> Result<()> {
    let user = from.user(&request.user, &request.role)?;
    let session = Session::of(user).with_properties(request.properties.clone())?;
    let _permit = stream_permit(service)?;
    let lookup = Lookup {
        text: &request.text,
        properties: session.properties(),
        user: session.principal(),
        query: &request.query,
        topic: &request.topic,
    };
    let rows = service.engine()?.forwarded_lookup(&lookup, &session)?;
    let outcome = Outcome::Rows(rows);
    let reply = Reply { result: ReplyBody::of(&outcome), properties: BTreeMap::new(), variables: BTreeMap::new() };
    let Outcome::Rows(rows) = outcome else { return Ok(()) };
    if sender.send(&Frame::Reply(Box::new(reply))) {
        pump(service, rows, sender)?;
    }
    Ok(())
}
