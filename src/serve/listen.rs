//! Connections: accepted, counted, timed, over TLS where it is asked for.
//!
//! HTTP/1.1 and HTTP/2 (with prior knowledge, or agreed on by TLS) share one port. A connection that sends no request, or
//! takes nothing of its answer, is closed; the others never wait for it.

use super::limits::{CONNECTIONS_MAX, HANDSHAKE_PATIENCE, HEAD_BYTES_MAX, HEAD_PATIENCE, HEADERS_MAX, READER_PATIENCE};
use super::meters::Meters;
use super::stopping::Stopping;
use crate::{mutant, threads};
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Pause after a failed accept: usually this process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes after which a connection has said which version it speaks.
const PREFACE_BYTES: usize = 24;
/// How often an HTTP/2 connection is asked whether it still lives.
const PING: Duration = Duration::from_secs(30);

/// The other end of the connection that a request came through.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// The user who was the last to send a request through it.
    user: Arc<Mutex<Option<Arc<str>>>>,
}

impl Peer {
    fn new(address: SocketAddr) -> Peer {
        Peer { address, user: Arc::default() }
    }

    /// Whether another user sent the request before, or nobody did.
    pub(super) fn is_new_here(&self, name: &Arc<str>) -> bool {
        let before = self.user.lock().replace(name.clone());
        before.as_ref() != Some(name)
    }
}

/// What a connection is served with.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) router: Router,
    /// `None` = cleartext.
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) meters: Arc<Meters>,
}

/// Serves until `stop` completes, then lets the connections finish what they have begun, as long as `stopping` allows.
pub(super) async fn serve(listener: TcpListener, service: Service, stop: impl Future<Output = ()>, stopping: Stopping) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        mutant::trip("accept", "");
        let Ok(place) = places.clone().try_acquire_owned() else {
            service.meters.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let (mut service, stopping) = (service.clone(), stopping.clone());
        service.router = service.router.layer(Extension(Peer::new(peer)));
        let held = stopping.connection();
        tokio::spawn(async move {
            let _counted = Counted::new(&service.meters);
            // A panic ends this connection alone, and was logged.
            let _ = threads::guarded("connection", "", connection(stream, service, stopping)).await;
            drop((place, held));
        });
    }
    drop(listener);
    stopping.run_down().await;
}

/// An open connection, counted for as long as this lives.
struct Counted(Arc<Meters>);

impl Counted {
    fn new(meters: &Arc<Meters>) -> Counted {
        meters.connections.fetch_add(1, Ordering::Relaxed);
        Counted(meters.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn connection(stream: TcpStream, service: Service, stopping: Stopping) {
    // Rows are small and wanted at once.
    let _ = stream.set_nodelay(true);
    match service.tls {
        None => talk(stream, service.router, stopping).await,
        Some(tls) => match timeout(HANDSHAKE_PATIENCE, tls.accept(stream)).await {
            Ok(Ok(stream)) => talk(stream, service.router, stopping).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        },
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, router: Router, stopping: Stopping) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING).max_header_list_size(HEAD_BYTES_MAX as u32);
    let io = TokioIo::new(Patient::new(stream));
    let mut talk = pin!(builder.serve_connection_with_upgrades(io, TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = talk.as_mut() => ended,
        () = stopping.ended(false) => {
            talk.as_mut().graceful_shutdown();
            talk.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection broke off");
    }
}

/// A stream whose other side has to begin to speak, and to take what it is sent.
struct Patient<S> {
    inner: S,
    /// Bytes that came while the version was not known.
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

    /// What a write answers, unless the other side has been waited for too long.
    fn written<T>(&mut self, answer: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if answer.is_ready() {
            self.is_clogged = false;
            // Whoever gets an answer has made a request.
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
