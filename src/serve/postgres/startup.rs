//! From an accepted socket to a session: TLS, the startup packet, the user.
//!
//! ```text
//! client  SSLRequest             server  S, and TLS begins       N = this server has none
//! client  Startup(user=..)       server  AuthenticationOk        without users, or by a client certificate
//!                                        AuthenticationSASL      users with a password: SCRAM-SHA-256
//!                                        CleartextPassword       users with a token, over TLS only
//! ```
//!
//! Nothing is read beyond a packet before TLS has begun, so that no one in between can put bytes into the encrypted session.

use super::connection::talk;
use super::errors::{BAD_AUTHORIZATION, BAD_PASSWORD, Failure, NOT_SUPPORTED, PROTOCOL, State, TOO_MANY_CONNECTIONS};
use super::messages::{self, Broken, Frontend, STARTUP_BYTES_MAX, Startup, VERSION_3};
use super::reply::{Reply, Severity};
use super::session::Session;
use super::signal::Signal;
use super::{Door, scram};
use crate::config::random_id;
use crate::engine::access::Principal;
use crate::error::Error;
use crate::serve::auth::login::{Entry, Logins};
use crate::serve::limits::{CLOSE_PATIENCE, HANDSHAKE_PATIENCE, HEAD_PATIENCE};
use crate::serve::net::connection::Stranger;
use crate::serve::net::tls;
use bytes::BytesMut;
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// First byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 22;
/// SSLRequest and GSSENCRequest before a startup packet: a client sends each at most once.
const REQUESTS_MAX: usize = 2;

/// Sends "too many connections" to a client that gets none; never waits for it.
pub(super) fn refuse(stream: &TcpStream) {
    let mut reply = Reply::default();
    let error = Error::statement("sorry, too many clients already");
    reply.problem(Severity::Fatal, TOO_MANY_CONNECTIONS, &error, None);
    let _ = stream.try_write(&reply.bytes);
}

/// Why a connection ends before it has a session.
enum Refusal {
    /// With this message.
    Said(Failure),
    /// Without one: the client has left, or was a CancelRequest.
    Silent,
}

impl From<io::Error> for Refusal {
    fn from(_: io::Error) -> Refusal {
        Refusal::Silent
    }
}

impl From<Broken> for Refusal {
    fn from(Broken(what): Broken) -> Refusal {
        Refusal::Said(Failure::new(PROTOCOL, what))
    }
}

fn refused(state: State, message: impl Into<String>) -> Refusal {
    Refusal::Said(Failure::new(state, message))
}

/// Serves one connection to its end.
pub(super) async fn connection(
    mut stream: TcpStream,
    address: SocketAddr,
    stranger: Option<Stranger>,
    door: Arc<Door>,
) {
    // Rows are small and wanted at once.
    let _ = stream.set_nodelay(true);
    let client = Client { address, secure: false, names: Vec::new(), stranger };
    let mut first = [0];
    let begun = timeout(HEAD_PATIENCE, stream.peek(&mut first)).await;
    match (begun, &door.tls) {
        (Ok(Ok(1)), Some(acceptor)) if first[0] == TLS_HANDSHAKE => {
            let acceptor = acceptor.clone();
            encrypted(stream, acceptor, client, door, true).await;
        }
        (Ok(Ok(1)), _) => match timeout(HEAD_PATIENCE, cleartext(&mut stream, &door)).await {
            Ok(Ok(First::Tls)) => {
                let Some(acceptor) = door.tls.clone() else { return };
                encrypted(stream, acceptor, client, door, false).await;
            }
            Ok(Ok(First::Session(version, parameters))) => {
                session(stream, version, parameters, client, door).await;
            }
            Ok(Err(refusal)) => say(&mut stream, refusal).await,
            Err(_) => tracing::debug!("no startup packet arrived in time"),
        },
        _ => {}
    }
}

/// The other side of a connection.
struct Client {
    address: SocketAddr,
    /// The connection is encrypted.
    secure: bool,
    /// Names in the client's certificate.
    names: Vec<String>,
    stranger: Option<Stranger>,
}

/// What a connection begins with.
enum First {
    Tls,
    Session(i32, Vec<(String, String)>),
}

async fn encrypted(
    stream: TcpStream,
    acceptor: tokio_rustls::TlsAcceptor,
    client: Client,
    door: Arc<Door>,
    direct: bool,
) {
    let mut stream = match timeout(HANDSHAKE_PATIENCE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake timed out"),
    };
    let state = stream.get_ref().1;
    // A direct handshake names the protocol, so that no other one can be led here.
    if direct && state.alpn_protocol() != Some(tls::POSTGRES[0]) {
        return tracing::debug!("TLS without the protocol postgresql");
    }
    let client = Client { secure: true, names: tls::names(state), ..client };
    match timeout(HEAD_PATIENCE, cleartext(&mut stream, &door)).await {
        Ok(Ok(First::Session(version, parameters))) => session(stream, version, parameters, client, door).await,
        Ok(Ok(First::Tls)) => say(&mut stream, refused(PROTOCOL, "the connection is encrypted already")).await,
        Ok(Err(refusal)) => say(&mut stream, refusal).await,
        Err(_) => tracing::debug!("no startup packet arrived in time"),
    }
}

/// Reads packets until one begins TLS or a session.
async fn cleartext<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, door: &Door) -> Result<First, Refusal> {
    for _ in 0..=REQUESTS_MAX {
        match packet(stream).await? {
            Startup::Ssl if door.tls.is_some() => {
                stream.write_all(b"S").await?;
                return Ok(First::Tls);
            }
            Startup::Ssl | Startup::Gss => stream.write_all(b"N").await?,
            Startup::Cancel { process, secret } => {
                door.cancels.cancel(process, &secret);
                return Err(Refusal::Silent);
            }
            Startup::Session { version, parameters } => return Ok(First::Session(version, parameters)),
        }
        stream.flush().await?;
    }
    Err(refused(PROTOCOL, "too many requests before the startup packet"))
}

/// Exactly one startup packet.
async fn packet<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Startup, Refusal> {
    let mut buffer = BytesMut::zeroed(4);
    stream.read_exact(&mut buffer).await?;
    // The length is checked by the codec before the rest is read.
    if let Some(startup) = messages::startup(&mut buffer)? {
        return Ok(startup);
    }
    let length = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]) as usize;
    buffer.resize(length.min(STARTUP_BYTES_MAX), 0);
    stream.read_exact(&mut buffer[4..]).await?;
    messages::startup(&mut buffer)?.ok_or_else(|| refused(PROTOCOL, "invalid startup packet"))
}

/// The next message before a session has begun.
async fn message<S: AsyncRead + Unpin>(stream: &mut S) -> Result<bytes::Bytes, Refusal> {
    let mut buffer = BytesMut::new();
    loop {
        match messages::next(&mut buffer, STARTUP_BYTES_MAX)? {
            Some(Frontend::Password(body)) => return Ok(body),
            Some(Frontend::Terminate) => return Err(Refusal::Silent),
            Some(_) => return Err(refused(PROTOCOL, "expected a password message")),
            None if stream.read_buf(&mut buffer).await? == 0 => return Err(Refusal::Silent),
            None => {}
        }
    }
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, refusal: Refusal) {
    let Refusal::Said(Failure { state, error }) = refusal else { return };
    let mut reply = Reply::default();
    reply.problem(Severity::Fatal, state, &error, None);
    let _ = timeout(CLOSE_PATIENCE, async {
        stream.write_all(&reply.bytes).await?;
        stream.shutdown().await
    })
    .await;
}

/// Authenticates, and serves the session.
async fn session<S: AsyncRead + AsyncWrite + Unpin + Send>(
    mut stream: S,
    version: i32,
    parameters: Vec<(String, String)>,
    mut client: Client,
    door: Arc<Door>,
) {
    let mut reply = Reply::default();
    let options: Vec<&str> =
        parameters.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("_pq_.")).collect();
    if version != VERSION_3 || !options.is_empty() {
        reply.negotiate(&options);
    }
    let opened = timeout(HEAD_PATIENCE, async {
        stream.write_all(&reply.bytes).await?;
        let user = parameters.iter().find(|(name, _)| name == "user").map(|(_, user)| user.clone());
        let user = user.ok_or_else(|| refused(BAD_AUTHORIZATION, "no user name is in the startup packet"))?;
        let principal = authenticate(&mut stream, &user, &client, &door).await?.at(Some(client.address));
        if door.app.logins.is_some() {
            door.audit.note("login", &principal, json!({ "door": "postgres" }), Ok(()));
        }
        open(&parameters, principal, &door)
    });
    let (session, mut reply, registered) = match opened.await {
        Ok(Ok(opened)) => opened,
        Ok(Err(refusal)) => return say(&mut stream, refusal).await,
        Err(_) => return tracing::debug!("a login was not completed in time"),
    };
    drop(client.stranger.take());
    reply.ready(b'I');
    match stream.write_all(&reply.bytes).await {
        Ok(()) => talk(stream, session, &door, registered.signal.clone()).await,
        Err(error) => tracing::debug!(%error, "connection closed early"),
    }
}

/// A session that can be cancelled for as long as this lives.
struct Registered<'a> {
    door: &'a Door,
    process: i32,
    signal: Arc<Signal>,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.door.cancels.remove(self.process);
    }
}

/// The session, and what is said at its beginning.
fn open<'a>(
    parameters: &[(String, String)],
    principal: Principal,
    door: &'a Door,
) -> Result<(Session, Reply, Registered<'a>), Refusal> {
    let mut reply = Reply::default();
    reply.authentication(0, &[]);
    let random = random_id().map_err(|error| Refusal::Said(error.into()))?.to_be_bytes();
    let process = i32::from_be_bytes([random[0] & 0x7f, random[1], random[2], random[3]]);
    let secret = random[4..8].to_vec();
    let signal = Arc::<Signal>::default();
    let mut session = Session::new(door.app.clone(), principal, process, signal.clone());
    session.begin(parameters).map_err(Refusal::Said)?;
    session.settings().reported().for_each(|(name, value)| reply.parameter_status(name, value));
    reply.backend_key(process, &secret);
    door.cancels.add(process, secret, signal.clone());
    Ok((session, reply, Registered { door, process, signal }))
}

/// The user of this name, authenticated.
async fn authenticate<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    name: &str,
    client: &Client,
    door: &Door,
) -> Result<Principal, Refusal> {
    let Some(logins) = &door.app.logins else { return Ok(Principal::local()) };
    if !client.names.is_empty()
        && let Entry::Granted(user) = logins.by_certificate(&client.names, Some(client.address.ip()))
        && *user.name == *name
    {
        return Ok(user);
    }
    let entry = match logins.has_only_token(name) {
        true if !client.secure => {
            let failure = Failure::new(NOT_SUPPORTED, "a token is taken over TLS only");
            return Err(Refusal::Said(failure.with_hint("connect with sslmode=require")));
        }
        true => token(stream, name, client, logins).await?,
        false => password(stream, name, client, logins).await?,
    };
    match entry {
        Entry::Granted(user) => Ok(user),
        Entry::Refused => {
            door.audit.login_failed(name, Some(client.address));
            Err(refused(BAD_PASSWORD, format!("password authentication failed for user \"{name}\"")))
        }
        Entry::Later(wait) => {
            let seconds = wait.as_secs_f64().ceil().max(1.0);
            let failure = Failure::new(State("53400"), "too many login attempts");
            Err(Refusal::Said(failure.with_hint(format!("try again in {seconds} s"))))
        }
    }
}

async fn token<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    name: &str,
    client: &Client,
    logins: &Logins,
) -> Result<Entry, Refusal> {
    let mut reply = Reply::default();
    reply.authentication(3, &[]);
    stream.write_all(&reply.bytes).await?;
    stream.flush().await?;
    let token = messages::text(&mut message(stream).await?)?;
    Ok(logins.by_token(name, &token, Some(client.address.ip())))
}

/// A SCRAM exchange.
async fn password<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    name: &str,
    client: &Client,
    logins: &Logins,
) -> Result<Entry, Refusal> {
    let address = Some(client.address.ip());
    let mut reply = Reply::default();
    reply.authentication(10, format!("{}\0\0", scram::MECHANISM).as_bytes());
    stream.write_all(&reply.bytes).await?;
    stream.flush().await?;
    let mut first = message(stream).await?;
    let mechanism = messages::text(&mut first)?;
    if mechanism != scram::MECHANISM || first.len() < 4 {
        return Err(refused(PROTOCOL, "the client selected an invalid SASL authentication mechanism"));
    }
    let known = match logins.scram(name, address) {
        Ok(known) => known,
        Err(entry) => return Ok(entry),
    };
    let ours = random_id().map_err(|error| Refusal::Said(error.into()))?;
    let failed = |failed| match failed {
        scram::Failed::Protocol(what) => refused(PROTOCOL, what),
        scram::Failed::Proof => refused(BAD_PASSWORD, "wrong proof"),
    };
    // The length of the first message is in front of it.
    let (exchange, answer) = scram::begin(known.verifier, &first[4..], &format!("{ours:032x}")).map_err(failed)?;
    let mut reply = Reply::default();
    reply.authentication(11, answer.as_bytes());
    stream.write_all(&reply.bytes).await?;
    stream.flush().await?;
    let last = message(stream).await?;
    match (exchange.finish(&last), known.user) {
        (Ok(proof), Some(user)) => {
            logins.scram_succeeded(known.attempt);
            let mut reply = Reply::default();
            reply.authentication(12, proof.as_bytes());
            stream.write_all(&reply.bytes).await?;
            Ok(Entry::Granted(user))
        }
        (Err(scram::Failed::Protocol(what)), _) => Err(refused(PROTOCOL, what)),
        _ => Ok(logins.scram_failed(name, address)),
    }
}
