//! The only unsafe code of the crate: what rdkafka's safe interface cannot do.
//!
//! - [`consume`]: messages in batches. rdkafka hands over one event a message, which costs twice the time.
//! - [`produce`]: rows with a partition and a timestamp of their own, counted delivery reports, transactions.
//! - [`admin`]: topic ids, and forgetting a group's offsets.
//!
//! Every function here is safe to call: pointers never leave this module except inside types that own them, and a type
//! that holds a pointer into a client also holds the client. librdkafka's objects may be used from any thread; what is
//! not thread-safe (decoding a message's headers) is kept on one thread by not being `Sync`.

//!
//! librdkafka checks itself with assertions, and one that fails ends the process. Of those that a caller can reach:
//!
//! - `txn_req_cnt > 0` (rdkafka_txnmgr.c, all versions up to 2.15): the end of a transaction resets this count, and an
//!   AddPartitionsToTxn that is still in flight fails afterwards. A commit is safe, because it follows the delivery of all
//!   rows, and rows are sent only once their partitions were added. An abort is not safe and is therefore not offered. The
//!   open transaction of a producer ends when the `init_transactions` of its successor makes the coordinator abort it.
//! - Errors that want an abort in a state without a transaction: with nothing in flight after a commit, none arrives.
//! - A client that is destroyed by one of its own threads, or used while it is destroyed: no callback of librdkafka runs
//!   our code, apart from the two functions at the end of [`produce`] that only look at one row; and every user of a client
//!   holds it.
//! - `failed to create broker thread`: see [`super::thread_headroom`].
//! - Memory that cannot be allocated ends the process in Rust as well.

#![expect(unsafe_code, reason = "librdkafka's batch interface is C; this module is the audited border")]

mod admin;
mod consume;
mod produce;

pub(super) use admin::{Described, describe_topics, forget_offsets};
pub(super) use consume::{Arrival, Inbox, Slots};
pub use consume::{Messages, RawHeaders};
pub(super) use produce::{CallError, GroupMetadata, RawProducer};

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use std::ffi::{CStr, c_char};
use std::time::Duration;

/// Text of a C string; an empty one for NULL.
///
/// # Safety
/// `text` is NULL or ends with a zero byte and lives during the call.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Versions of librdkafka and OpenSSL as they run: "2.12.1", "3.6.3".
pub fn library_versions() -> (String, String) {
    // SAFETY: both functions return static C strings and may be called before any other.
    let (librdkafka, openssl) = unsafe {
        (text(sys::rd_kafka_version_str()), text(openssl_sys::OpenSSL_version(openssl_sys::OPENSSL_VERSION)))
    };
    // "OpenSSL 3.6.3 9 Jun 2026"
    let number = openssl.split_whitespace().nth(1).unwrap_or(&openssl).to_owned();
    (librdkafka, number)
}

/// librdkafka counts milliseconds in a C `int`.
fn milliseconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// The member id that the group's coordinator gave to this consumer; `None` while it is no member.
pub(super) fn member_id<C: ClientContext>(client: &Client<C>) -> Option<String> {
    // SAFETY: the client lives during the call; the answer is ours to free with librdkafka's allocator.
    unsafe {
        let id = sys::rd_kafka_memberid(client.native_ptr());
        let copy = text(id);
        if !id.is_null() {
            sys::rd_kafka_mem_free(client.native_ptr(), id.cast());
        }
        (!copy.is_empty()).then_some(copy)
    }
}
