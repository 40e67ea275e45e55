//! Whether a silent process has ended: its port refuses connections.
//!
//! A process that has missed a pulse is tried once per pulse, on a thread of its own: a name may take long to be resolved. A
//! refused connection is the operating system's word that nothing listens there, so its queries move without the wait for a
//! release; anything else says nothing.

use super::{Member, Shared};
use crate::engine::cluster::hearing::PULSE_MS;
use crate::engine::cluster::names::Slot;
use crate::threads;
use axum::http::Uri;
use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The kind of its thread.
const KIND: &str = "cluster-probe";
/// How long one connection is awaited.
const CONNECT_WAIT: Duration = Duration::from_millis(300);
/// Silence before a process is tried: a pulse and a half.
const QUIET_MS: u64 = PULSE_MS * 3 / 2;
/// Processes that are tried in one look.
const TRIES_MAX: usize = 4;
/// Ports of URLs that name none.
const PORTS: [(&str, u16); 2] = [("http", 80), ("https", 443)];

/// Tries quiet processes now and then.
#[derive(Debug, Default)]
pub(super) struct Probe {
    next_ms: u64,
    /// A thread is trying; there is at most one.
    is_running: Arc<AtomicBool>,
}

impl Probe {
    /// Tries processes that have become quiet and own something.
    pub(super) fn look(&mut self, shared: &Arc<Shared>) {
        let now = shared.now_ms();
        if now < self.next_ms || self.is_running.load(Ordering::Acquire) {
            return;
        }
        let quiet = quiet(shared, now);
        if quiet.is_empty() {
            return;
        }
        self.next_ms = now + PULSE_MS;
        self.is_running.store(true, Ordering::Release);
        let (shared, is_running) = (shared.clone(), self.is_running.clone());
        let name = shared.service.clone();
        let spawned = threads::spawn(KIND, name, move || {
            quiet.iter().take(TRIES_MAX).for_each(|member| shared.probe(member));
            is_running.store(false, Ordering::Release);
        });
        if spawned.is_err() {
            self.is_running.store(false, Ordering::Release);
        }
    }
}

impl Shared {
    fn probe(&self, Member { slot, address, .. }: &Member) {
        if address.as_deref().is_some_and(is_refused) {
            let mut heard = self.heard.lock();
            heard.hearing.refused(&Slot::new(slot));
            heard.is_news = true;
            drop(heard);
            self.changed.notify_all();
        }
    }
}

fn quiet(shared: &Shared, now_ms: u64) -> Vec<Member> {
    let heard = shared.heard.lock();
    let slots = heard.hearing.quiet(now_ms, QUIET_MS);
    let owners = slots.iter().filter(|slot| heard.is_owner(slot));
    owners.filter_map(|slot| heard.member(slot, &shared.me, now_ms)).collect()
}

/// Whether the operating system refuses a connection to the host and port of this URL.
fn is_refused(address: &str) -> bool {
    let Ok(url) = address.parse::<Uri>() else { return false };
    let usual = PORTS.iter().find(|(scheme, _)| url.scheme_str() == Some(scheme)).map(|(_, port)| *port);
    let (Some(host), Some(port)) = (url.host(), url.port_u16().or(usual)) else { return false };
    let Ok(mut addresses) = (host.trim_matches(['[', ']']), port).to_socket_addrs() else { return false };
    let tried = addresses.next().map(|address| TcpStream::connect_timeout(&address, CONNECT_WAIT));
    tried.is_some_and(|tried| tried.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused))
}

#[cfg(test)]
mod tests {
    use super::is_refused;
    use std::net::TcpListener;

    #[test]
    fn a_port_that_was_closed_refuses_and_an_open_one_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        assert!(!is_refused(&address));
        drop(listener);
        assert!(is_refused(&address));
        for unknown in ["", "http://", "nonsense"] {
            assert!(!is_refused(unknown), "{unknown}");
        }
    }
}
