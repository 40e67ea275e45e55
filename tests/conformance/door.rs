//! A server, reached over HTTP: statements and queries go in as a client sends them, and what comes back is reported as it is. It
//! is that of a process (`process`), or the code of `tidegate server` over a case's engine in this process.

use serde_json::{Map, Value, json};
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;
use tidegate::engine::Engine;
use tidegate::error::{Error, Result};
use tidegate::serve::Access;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// How long an answer may take: a push query without its rows has failed by then.
const ANSWER_SECONDS_MAX: u64 = 15;

/// A server that ends with this.
pub(crate) struct Door {
    address: String,
    agent: ureq::Agent,
    stop: Option<oneshot::Sender<()>>,
    runtime: Option<Runtime>,
}

/// A response whose body is read to its end, or up to where it broke off.
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Door {
    pub(crate) fn open(engine: Engine) -> Result<Door> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| Error::io(e.to_string()))?;
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).map_err(|e| Error::io(e.to_string()))?;
        let address = listener.local_addr().map_err(|e| Error::io(e.to_string()))?;
        let doors = Access::default().open(address)?;
        let (stop, stopped) = oneshot::channel::<()>();
        runtime.spawn(tidegate::serve::serve(engine, listener, doors, async move {
            let _ = stopped.await;
        }));
        let mut door = Door::to(&address.to_string());
        (door.stop, door.runtime) = (Some(stop), Some(runtime));
        Ok(door)
    }

    /// The door of a server that runs already.
    pub(crate) fn to(address: &str) -> Door {
        let patience = Some(Duration::from_secs(ANSWER_SECONDS_MAX));
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(patience);
        Door { address: address.to_owned(), agent: agent.build().new_agent(), stop: None, runtime: None }
    }

    /// The address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// `POST /ksql`.
    pub(crate) fn statements(&self, text: &str, properties: &Map<String, Value>) -> Result<Told> {
        self.post("/ksql", text, properties)?.rest()
    }

    /// `POST /query`; what is there of the answer once its header has come.
    pub(crate) fn query(&self, text: &str, properties: &Map<String, Value>) -> Result<Answering> {
        self.post("/query", text, properties)
    }

    fn post(&self, path: &str, text: &str, properties: &Map<String, Value>) -> Result<Answering> {
        let body = json!({ "ksql": text, "streamsProperties": properties }).to_string();
        let request = self.agent.post(self.url(path)).header("content-type", "application/json");
        let response = request.send(body).map_err(|e| Error::io(format!("no response: {e}")))?;
        let status = response.status().as_u16();
        let mut body = BufReader::new(response.into_body().into_reader());
        let mut read = String::new();
        body.read_line(&mut read).map_err(|e| Error::io(format!("no body: {e}")))?;
        Ok(Answering { status, read, body: Box::new(body) })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A response whose first line has come.
pub(crate) struct Answering {
    status: u16,
    read: String,
    body: Box<dyn Read>,
}

impl Answering {
    /// Reads to the end. Where the stream breaks off, the elements that came are the body: the last of them says why.
    pub(crate) fn rest(mut self) -> Result<Told> {
        let broken = self.body.read_to_string(&mut self.read).err();
        let body = serde_json::from_str(&self.read).or_else(|e| match broken {
            Some(_) => elements(&self.read),
            None => Err(e),
        });
        let body = body.map_err(|e| Error::io(format!("the body is no JSON: {e}: {}", self.read)))?;
        Ok(Told { status: self.status, body })
    }
}

/// The whole lines of an array that was never closed.
fn elements(text: &str) -> serde_json::Result<Value> {
    let lines = text.trim_start_matches('[').lines().map(|line| line.trim_end_matches(','));
    lines.filter(|line| !line.is_empty()).map(serde_json::from_str::<Value>).collect()
}
