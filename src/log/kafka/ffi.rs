//! The only unsafe code of the crate besides the allocator: what rdkafka's safe interface does not offer.
//!
//! - [`consume`]: messages in batches. rdkafka returns one event per message, which takes twice the time.
//! - [`produce`]: rows with an explicit partition and timestamp, counted delivery reports, transactions.
//! - [`admin`]: topic ids, and deleting a group or its offsets.
//!
//! Every function here is safe to call: pointers never leave this module except inside types that own them, and a type
//! that holds a pointer into a client also holds the client. librdkafka's objects may be used from any thread; what is
//! not thread-safe (decoding a message's headers) is confined to one thread by not being `Sync`.
//!
//! librdkafka checks itself with assertions, and a failed one aborts the process. Those that a caller can reach:
//!
//! - `txn_req_cnt > 0` (rdkafka_txnmgr.c, all versions up to 2.15): the end of a transaction resets this count, and an
//!   AddPartitionsToTxn that is still in flight fails afterwards. A commit is safe, because it follows the delivery of all
//!   rows, and rows are sent only once their partitions were added. An abort is not safe and is therefore not offered (K13).
//!   The open transaction of a producer ends when the `init_transactions` of its successor makes the coordinator abort it.
//! - Errors that require an abort in a state without a transaction: with nothing in flight after a commit, none arrives.
//! - A client that is destroyed by one of its own threads, or used while it is destroyed: no callback of librdkafka runs
//!   our code, apart from the two functions at the end of [`produce`] that only inspect one row; and every user of a client
//!   holds it.
//! - `eonce->refcnt > 0` (rdkafka_queue.h): a request to a group's coordinator that timed out before the coordinator was found. Such
//!   requests get the longest timeout there is and a client of their own, see [`admin`]; rdkafka's `AdminClient::delete_groups`
//!   is not used.
//! - `failed to create broker thread`: see [`super::thread_headroom`].
//! - Failed memory allocations abort the process in Rust as well.

#![expect(unsafe_code, reason = "librdkafka's batch interface is C; this module is the audited border")]

mod admin;
mod consume;
mod produce;

pub(super) use admin::{
    Described, alter_topic, commit_offset, committed_offsets, delete_group, describe_topics, forget_offsets,
};
pub(super) use consume::{ConsumerQueue, QueueEvent, Slots};
pub use consume::{Messages, RawHeaders};
pub(super) use produce::{CallError, GroupMetadata, RawProducer};

use rdkafka::bindings as sys;
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

/// Versions of the linked librdkafka and OpenSSL: "2.12.1", "3.6.3".
pub fn library_versions() -> (String, String) {
    // SAFETY: both functions return static C strings and may be called before any other.
    let (librdkafka, openssl) = unsafe {
        (text(sys::rd_kafka_version_str()), text(openssl_sys::OpenSSL_version(openssl_sys::OPENSSL_VERSION)))
    };
    // "OpenSSL 3.6.3 9 Jun 2026"
    let number = openssl.split_whitespace().nth(1).unwrap_or(&openssl).to_owned();
    (librdkafka, number)
}

/// librdkafka takes milliseconds as a C `int`.
fn milliseconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
