//! Connections: accepted, counted, timed, with TLS if configured.
//!
//! HTTP/1.1 and HTTP/2 (with prior knowledge, or agreed on by TLS) share one port. A connection that sends no request, or
//! takes nothing of its answer, is closed; the others never wait for it. A Unix socket is served in the same way, to processes
//! of the same user.

use super::connection::{Connection, Counted, Unauthenticated};
use super::tls;
use crate::error::Error;
use crate::serve::error;
use crate::serve::limits::{
    CLOSE_PATIENCE, CONNECTIONS_MAX, HANDSHAKE_PATIENCE, HEAD_BYTES_MAX, HEAD_PATIENCE, HEADERS_MAX, READER_PATIENCE,
};
use crate::serve::metrics::Counters;
use crate::serve::stopping::Stopping;
use crate::{mutant, threads};
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Pause after a failed accept: usually this process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes that identify the HTTP version of a connection.
const PREFACE_BYTES: usize = 24;
/// Interval of keep-alive pings on HTTP/2 connections.
const PING: Duration = Duration::from_secs(30);

/// The socket that accepts connections.
pub(crate) enum Listener {
    Tcp(TcpListener),
    /// For processes of this user, or of root.
    Unix(UnixListener),
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Socket::Tcp(stream), Some(address)))
            }
            Listener::Unix(listener) => Ok((Socket::Unix(listener.accept().await?.0), None)),
        }
    }
}

/// What a connection is served with.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) router: Router,
    /// `None` = cleartext.
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) counters: Arc<Counters>,
    /// Unauthenticated connections; `None` = no authentication is required.
    pub(crate) unauthenticated: Option<Arc<Unauthenticated>>,
}

/// Serves until `stop` completes, then lets the connections finish what they have begun, as long as `stopping` allows.
pub(crate) async fn serve(listener: Listener, service: Service, stop: impl Future<Output = ()>, stopping: Stopping) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, address)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        mutant::trip("accept", "");
        let place = places.clone().try_acquire_owned().ok();
        let stranger = match (&service.unauthenticated, address) {
            (Some(unauthenticated), Some(address)) => unauthenticated.enter(address.ip()).map(Some),
            _ => Some(None),
        };
        let (Some(place), Some(stranger)) = (place, stranger) else {
            service.counters.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let (service, stopping) = (service.clone(), stopping.clone());
        let held = stopping.connection();
        tokio::spawn(async move {
            let _metered = Metered::new(&service.counters);
            let known = |names: Vec<String>| Connection::new(address, names, stranger);
            let served = async move {
                match socket {
                    Socket::Tcp(stream) => connection(stream, service, known, stopping).await,
                    Socket::Unix(stream) if is_own(&stream) => {
                        talk(stream, service.router, known(Vec::new()), stopping).await;
                    }
                    Socket::Unix(_) => {
                        tracing::warn!("rejected a process of another user on the data directory's socket")
                    }
                }
            };
            // A panic ends this connection alone, and was logged.
            let _ = threads::guarded("connection", "", served).await;
            drop((place, held));
        });
    }
    drop(listener);
    stopping.run_down().await;
}

/// An open connection, counted for as long as this lives.
struct Metered(Arc<Counters>);

impl Metered {
    fn new(counters: &Arc<Counters>) -> Metered {
        counters.connections.fetch_add(1, Ordering::Relaxed);
        Metered(counters.clone())
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Is the process at the other end this user's, or root's?
fn is_own(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn connection(
    stream: TcpStream,
    service: Service,
    known: impl FnOnce(Vec<String>) -> Arc<Connection>,
    stopping: Stopping,
) {
    // Rows are small and wanted at once.
    let _ = stream.set_nodelay(true);
    let Some(tls) = service.tls else {
        return talk(stream, service.router, known(Vec::new()), stopping).await;
    };
    let shaken = timeout(HANDSHAKE_PATIENCE, async {
        match is_cleartext(&stream).await? {
            true => send_to_https(stream).await.map(|()| None),
            false => tls.accept(stream).await.map(Some),
        }
    });
    match shaken.await {
        Ok(Ok(Some(stream))) => {
            let names = tls::names(stream.get_ref().1);
            talk(stream, service.router, known(names), stopping).await;
        }
        Ok(Ok(None)) => tracing::debug!("cleartext HTTP on a TLS port"),
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake timed out"),
    }
}

/// Does it begin with a method? A handshake begins with byte 22.
async fn is_cleartext(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    Ok(first[0].is_ascii_uppercase())
}

/// Answers a request in cleartext with a hint.
async fn send_to_https(mut stream: TcpStream) -> io::Result<()> {
    // A connection that is closed with unread bytes is reset, and the response is lost.
    let (mut head, mut piece) = (Vec::new(), [0; 1024]);
    while head.len() < HEAD_BYTES_MAX && memchr::memmem::find(&head, b"\r\n\r\n").is_none() {
        match stream.read(&mut piece).await? {
            0 => break,
            n => head.extend_from_slice(&piece[..n]),
        }
    }
    let e = Error::statement("expected TLS, got a cleartext request").with_code(40000);
    let body = error::body(&e.with_hint("use https:// instead of http://"), None).to_string();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    connection: Arc<Connection>,
    stopping: Stopping,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING).max_header_list_size(HEAD_BYTES_MAX as u32);
    let io = TokioIo::new(Patient::new(stream));
    let mut talk = pin!(builder.serve_connection_with_upgrades(io, Counted::new(router, connection.clone())));
    let ended = tokio::select! {
        ended = talk.as_mut() => ended,
        () = stopping.ended(false) => {
            talk.as_mut().graceful_shutdown();
            talk.await
        }
        () = connection.quiet() => {
            talk.as_mut().graceful_shutdown();
            match timeout(CLOSE_PATIENCE, talk).await {
                Ok(ended) => ended,
                Err(_) => return tracing::debug!("an idle connection did not close in time"),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection closed early");
    }
}

/// A stream whose other side has to begin to speak, and to take what it is sent.
struct Patient<S> {
    inner: S,
    /// Bytes received before the version was known.
    begun: usize,
    beginning: Option<Pin<Box<Sleep>>>,
    clogged: Pin<Box<Sleep>>,
    /// The other side has taken nothing since the timer was set.
    is_clogged: bool,
}

impl<S> Patient<S> {
    fn new(inner: S) -> Patient<S> {
        let (beginning, clogged) = (Some(Box::pin(sleep(HEAD_PATIENCE))), Box::pin(sleep(READER_PATIENCE)));
        Patient { inner, begun: 0, beginning, clogged, is_clogged: false }
    }

    /// The result of a write, unless the client has not read for too long.
    fn written<T>(&mut self, answer: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if answer.is_ready() {
            self.is_clogged = false;
            // A response implies a request.
            self.beginning = None;
        }
        self.flushed(answer, context)
    }

    /// The same for what may be done while the other side takes nothing.
    fn flushed<T>(&mut self, answer: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if answer.is_ready() {
            return answer;
        }
        if !self.is_clogged {
            self.is_clogged = true;
            self.clogged.as_mut().reset(Instant::now() + READER_PATIENCE);
        }
        self.clogged.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = into.filled().len();
        let answer = Pin::new(&mut this.inner).poll_read(context, into);
        let Some(beginning) = &mut this.beginning else { return answer };
        this.begun += into.filled().len() - before;
        if this.begun >= PREFACE_BYTES {
            this.beginning = None;
        } else if answer.is_pending() && beginning.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        answer
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let answer = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.written(answer, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let answer = Pin::new(&mut self.inner).poll_write_vectored(context, bytes);
        self.written(answer, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answer = Pin::new(&mut self.inner).poll_flush(context);
        self.flushed(answer, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answer = Pin::new(&mut self.inner).poll_shutdown(context);
        self.flushed(answer, context)
    }
}
