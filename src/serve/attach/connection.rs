//! The connection to another tidegate: the socket of a data directory, or a server's port, with TLS or without.

use super::socket::Near;
use super::tls_client::Secure;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// How long a connection may take. What a statement takes is its own affair.
const CONNECT: Duration = Duration::from_secs(5);

/// How the other side is reached.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    /// The socket of a data directory.
    Socket(PathBuf),
    /// `host:port`, in the clear unless there is a way to trust it.
    Network(String, Option<Secure>),
}

impl Line {
    /// What a request calls the other side.
    pub(crate) fn host(&self) -> &str {
        match self {
            Line::Socket(_) => "localhost",
            Line::Network(address, _) => address,
        }
    }

    /// A connection for one request.
    pub(crate) async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
        let sender = match self {
            Line::Socket(path) => {
                let near = Near::to(path)?;
                spoken(in_time(UnixStream::connect(&near.path)).await?).await
            }
            Line::Network(address, secure) => {
                let stream = in_time(TcpStream::connect(address)).await?;
                // Statements and answers are small and waited for.
                stream.set_nodelay(true)?;
                match secure {
                    None => spoken(stream).await,
                    Some(secure) => spoken(in_time(secure.connect(stream)).await?).await,
                }
            }
        };
        Ok(sender?)
    }
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(CONNECT, step).await.map_err(io::Error::from).flatten()
}

/// HTTP over a connection.
async fn spoken<S>(stream: S) -> hyper::Result<SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
