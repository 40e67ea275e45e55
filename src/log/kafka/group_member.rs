//! Static membership in the group of a query (K1, KIP-345). The member subscribes to the task topic; its generation is part of
//! every commit and fences earlier owners. Being a consumer of the group, the member reads the group's stable offsets, too.

use super::client::{Events, Membership, SESSION_TIMEOUT, failed, retire};
use super::ffi::{GroupMetadata, member_id};
use super::process_identity::{self, Liveness};
use super::{KafkaLog, committed_list, make_client};
use crate::error::{Error, Kind, Result};
use crate::threads;
use crate::types::clock::SharedClock;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::groups::GroupList;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Timeout of one poll for group events.
const POLL_WAIT: Duration = Duration::from_millis(50);
/// Interval of checking an awaited condition.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// Interval of asking the coordinator whether a member of unknown liveness still exists.
const ASK_PAUSE: Duration = Duration::from_millis(500);
/// K3: timeout of one attempt to read stable offsets.
const STABLE_TRY: Duration = Duration::from_millis(400);
/// Timeout of one request to the coordinator.
const ASK_WAIT: Duration = Duration::from_secs(10);
/// How long a coordinator may take to become available: a broker that has just started loads its offsets first.
const COORDINATOR_WAIT: Duration = Duration::from_secs(30);
/// A group forms within the broker's rebalance delay (3 s) plus the session timeout of a dead member.
const JOIN_WAIT: Duration = Duration::from_secs(30);

/// The coordination consumer and the thread that polls it.
pub(super) struct GroupMember {
    consumer: Arc<BaseConsumer<Membership>>,
    clock: SharedClock,
    instance: String,
    group: String,
    stop: Arc<AtomicBool>,
}

impl GroupMember {
    /// Starts joining `group`, unless a live process holds the place. `last_owner` reads the client id in the commit metadata.
    pub(super) fn join(
        log: &KafkaLog,
        group: &str,
        instance: &str,
        topic: &str,
        last_owner: &dyn Fn() -> Result<Option<String>>,
    ) -> Result<GroupMember> {
        wait_for_place(log, group, instance, last_owner)?;
        let events = Events::new(format!("group {group}"), log.clock().clone());
        let config = log.settings().member(group, instance, &process_identity::own());
        let consumer: BaseConsumer<Membership> = make_client(&config, Membership::new(events), "make a group member")?;
        consumer.subscribe(&[topic]).map_err(|e| failed("join a group", e))?;
        let (consumer, stop) = (Arc::new(consumer), Arc::new(AtomicBool::new(false)));
        let (served, stopped) = (Arc::clone(&consumer), Arc::clone(&stop));
        let label = group.to_owned();
        let work = move || {
            threads::rounds("kafka-group", &label, || {
                // The context has logged errors already; the client remembers a fatal one.
                let _ = served.poll(POLL_WAIT);
                if stopped.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        };
        threads::spawn("kafka-group", group, work)?;
        let (clock, group, instance) = (log.clock().clone(), group.to_owned(), instance.to_owned());
        Ok(GroupMember { consumer, clock, instance, group, stop })
    }

    /// Waits until all tasks are assigned to this member.
    pub(super) fn wait_for_tasks(&self, tasks: usize) -> Result<()> {
        let deadline = self.clock.monotonic() + JOIN_WAIT;
        loop {
            if let Some(reason) = self.fatal() {
                return Err(Error::new(Kind::Fenced, "another process took over this query").with_detail(reason));
            }
            let owned = self.context().owned();
            if owned == tasks {
                return Ok(());
            }
            if self.clock.monotonic() > deadline {
                return Err(Error::new(
                    Kind::Busy,
                    format!("only {owned} of {tasks} tasks of group {} are assigned to this process", self.group),
                )
                .with_hint("stop the other process of this service, or wait until its session ends"));
            }
            self.clock.sleep(LOOK_PAUSE);
        }
    }

    /// K2: how often tasks were revoked.
    pub(super) fn revocations(&self) -> u64 {
        self.context().revocations()
    }

    /// The current group metadata; `None` = not a member at present.
    pub(super) fn group_metadata(&self) -> Option<GroupMetadata> {
        GroupMetadata::of(&self.consumer)
    }

    /// The offsets that the group has committed; an error while an open transaction contains newer ones.
    pub(super) fn committed(
        &self,
        wanted: &TopicPartitionList,
        timeout: Duration,
    ) -> Result<TopicPartitionList, KafkaError> {
        committed_list(&self.consumer, wanted, timeout)
    }

    /// K3: the same once no open transaction contains newer ones; `patience` is how long one may stay open.
    pub(super) fn stable(&self, wanted: &TopicPartitionList, patience: Duration) -> Result<TopicPartitionList> {
        let deadline = self.clock.monotonic() + patience;
        loop {
            match self.committed(wanted, STABLE_TRY) {
                Ok(list) => return Ok(list),
                Err(error) if self.clock.monotonic() > deadline => {
                    return Err(failed("read the committed offsets", error));
                }
                // Most errors come after the timeout; others must not spin.
                Err(_) => self.clock.sleep(LOOK_PAUSE),
            }
        }
    }

    /// K1: why this membership has ended for good: another process has the place.
    pub(super) fn fatal(&self) -> Option<String> {
        self.consumer.client().fatal_error().map(|(code, reason)| format!("{reason} ({code:?})"))
    }

    /// Whether this member has lost its place, to another process or, after a broker stalled, to its own repeated join request.
    pub(super) fn lost_place(&self, log: &KafkaLog) -> Result<bool> {
        if self.fatal().is_some() {
            return Ok(true);
        }
        let holder = holder(log, &self.group, &self.instance)?;
        Ok(match (holder, member_id(self.consumer.client())) {
            (Some(holder), Some(ours)) => holder.member != ours,
            _ => false,
        })
    }

    /// Leaves the place to another member of this process: two of one instance id would fence each other in turn.
    pub(super) fn leave(&self) {
        self.consumer.unsubscribe();
        self.stop.store(true, Ordering::Relaxed);
    }

    fn context(&self) -> &Membership {
        self.consumer.client().context()
    }
}

impl Drop for GroupMember {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        retire(Arc::clone(&self.consumer));
    }
}

/// The holder of a static place in a group.
struct Holder {
    member: String,
    client: String,
}

fn holder(log: &KafkaLog, group: &str, instance: &str) -> Result<Option<Holder>> {
    let groups = group_list(log, group)?;
    // The coordinator composes a static member's id of its instance id and a UUID (`GroupMetadata.generateMemberId`).
    let is_instance =
        |id: &str| id.strip_prefix(instance).is_some_and(|rest| rest.len() == 37 && rest.starts_with('-'));
    let members = groups.groups().iter().flat_map(|g| g.members());
    Ok(members
        .filter(|m| is_instance(m.id()))
        .map(|m| Holder { member: m.id().to_owned(), client: m.client_id().to_owned() })
        .next())
}

/// Reads a group, and retries while its coordinator moves or has only just started, which is usual for a new broker.
fn group_list(log: &KafkaLog, group: &str) -> Result<GroupList> {
    let deadline = log.clock().monotonic() + COORDINATOR_WAIT;
    loop {
        match log.metadata_client().fetch_group_list(Some(group), ASK_WAIT) {
            Ok(groups) => return Ok(groups),
            Err(e) if is_coming_up(&e) && log.clock().monotonic() < deadline => log.clock().sleep(ASK_PAUSE),
            Err(e) => return Err(failed("look at a group", e)),
        }
    }
}

fn is_coming_up(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    matches!(error.rdkafka_error_code(), Some(CoordinatorLoadInProgress | CoordinatorNotAvailable | NotCoordinator))
}

/// The process that rightfully has the place that `own` has lost; `None` = there is none, so that it may be taken again.
pub(super) fn rightful_owner(
    log: &KafkaLog,
    group: &str,
    instance: &str,
    own: &str,
    last_owner: &dyn Fn() -> Result<Option<String>>,
) -> Result<Option<String>> {
    let other = |client: &String| client != own && process_identity::liveness(client) != Liveness::Dead;
    if let Some(committed) = last_owner()?.filter(other) {
        return Ok(Some(process_identity::describe(&committed)));
    }
    // A process that joined after our session ended is a new member with its own client id.
    Ok(holder(log, group, instance)?.map(|h| h.client).filter(other).map(|client| process_identity::describe(&client)))
}

/// K1: returns when the place is free or its holder is dead. The death of a process of this machine is known at once; elsewhere
/// the session timeout decides.
///
/// The holder is read from the commit metadata, because a coordinator keeps the client id of a place's first member for ever.
/// Only before the first commit is that client id all there is.
fn wait_for_place(
    log: &KafkaLog,
    group: &str,
    instance: &str,
    last_owner: &dyn Fn() -> Result<Option<String>>,
) -> Result<()> {
    let deadline = log.clock().monotonic() + SESSION_TIMEOUT + Duration::from_secs(1);
    let mut logged = false;
    while let Some(holder) = holder(log, group, instance)? {
        let client = last_owner()?.unwrap_or(holder.client);
        match process_identity::liveness(&client) {
            Liveness::Dead => return Ok(()),
            // A writer of this process that was closed: static members do not leave, their session times out.
            Liveness::Alive if process_identity::is_own(&client) => return Ok(()),
            Liveness::Unknown if log.clock().monotonic() < deadline => {
                if !logged {
                    let holder = process_identity::describe(&client);
                    tracing::info!(target: "kafka", group, holder, "waiting for the holder of the slot to time out");
                    logged = true;
                }
                log.clock().sleep(ASK_PAUSE);
            }
            Liveness::Alive | Liveness::Unknown => return Err(busy(group, &client)),
        }
    }
    Ok(())
}

/// The error for a slot that is taken.
pub(super) fn busy(group: &str, client: &str) -> Error {
    let who = process_identity::describe(client);
    Error::new(Kind::Busy, format!("another Tidegate process with this service id is running: {who}"))
        .with_detail(format!("it writes group {group}"))
        .with_hint("stop that process, or start this one with another service id (ksql.service.id)")
}
