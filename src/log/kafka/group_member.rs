//! A session's place in its group: the task topic is subscribed to by a static member, whose generation stands in every
//! commit and fences owners of the past.

use super::client::{Events, Membership, SESSION_TIMEOUT, failed, retire};
use super::ffi::{GroupMetadata, member_id};
use super::process_identity::{self, Liveness};
use super::{KafkaLog, make_client};
use crate::error::{Error, Kind, Result};
use crate::threads;
use crate::types::clock::SharedClock;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::groups::GroupList;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the group's events are looked at.
const POLL_WAIT: Duration = Duration::from_millis(50);
/// How often to look whether something awaited has happened.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// How often the coordinator is asked whether a member of unknown fate is still there.
const ASK_PAUSE: Duration = Duration::from_millis(500);
/// How long the coordinator may take to answer.
const ASK_WAIT: Duration = Duration::from_secs(10);
/// How long a coordinator may need to come up: a broker that was just started loads its offsets first.
const COORDINATOR_WAIT: Duration = Duration::from_secs(30);
/// A group forms within the broker's rebalance delay (3 s) and the session timeout of a member that died.
const JOIN_WAIT: Duration = Duration::from_secs(30);

/// The coordination consumer and the thread that serves it.
pub(super) struct GroupMember {
    consumer: Arc<BaseConsumer<Membership>>,
    clock: SharedClock,
    instance: String,
    group: String,
    stop: Arc<AtomicBool>,
}

impl GroupMember {
    /// Begins to join `group`, unless a living process holds the place. `last_owner` is the client id that stands in the blobs.
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
                // Errors were told to the context already; a fatal one is kept by the client.
                let _ = served.poll(POLL_WAIT);
                if stopped.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        };
        threads::spawn("kafka-group", group, work)?;
        let (clock, group, instance) = (log.clock().clone(), group.to_owned(), instance.to_owned());
        Ok(GroupMember { consumer, clock, instance, group, stop })
    }

    /// Waits until all tasks are ours.
    pub(super) fn wait_for_tasks(&self, tasks: usize) -> Result<()> {
        let deadline = self.clock.monotonic() + JOIN_WAIT;
        loop {
            if let Some(reason) = self.fatal() {
                return Err(Error::new(Kind::Fenced, "another process took this query over").with_detail(reason));
            }
            let owned = self.context().owned();
            if owned == tasks {
                return Ok(());
            }
            if self.clock.monotonic() > deadline {
                return Err(Error::new(
                    Kind::Busy,
                    format!("only {owned} of {tasks} tasks of {} are ours", self.group),
                )
                .with_hint("stop the other process of this service, or wait until its session ends"));
            }
            self.clock.sleep(LOOK_PAUSE);
        }
    }

    pub(super) fn revocations(&self) -> u64 {
        self.context().revocations()
    }

    /// Our standing at this moment; `None` = no member at present.
    pub(super) fn group_metadata(&self) -> Option<GroupMetadata> {
        GroupMetadata::of(&self.consumer)
    }

    /// Why this membership can never work again: another process has our place.
    pub(super) fn fatal(&self) -> Option<String> {
        self.consumer.client().fatal_error().map(|(code, reason)| format!("{reason} ({code:?})"))
    }

    /// Whether this member has lost its place: to another process, or, after a broker stalled, to a join of its own that
    /// was sent twice.
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

    /// Makes room for another member of this process: two of one name would shut each other out in turn.
    pub(super) fn step_back(&self) {
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

/// Who holds a static place in a group.
struct Holder {
    member: String,
    client: String,
}

fn holder(log: &KafkaLog, group: &str, instance: &str) -> Result<Option<Holder>> {
    let groups = group_list(log, group)?;
    // The coordinator makes a static member's id from its instance id and a UUID.
    let is_instance =
        |id: &str| id.strip_prefix(instance).is_some_and(|rest| rest.len() == 37 && rest.starts_with('-'));
    let members = groups.groups().iter().flat_map(|g| g.members());
    Ok(members
        .filter(|m| is_instance(m.id()))
        .map(|m| Holder { member: m.id().to_owned(), client: m.client_id().to_owned() })
        .next())
}

/// Asks for a group, and asks again while its coordinator is moving or has only just started: the usual state of a broker
/// that was started a moment ago.
fn group_list(log: &KafkaLog, group: &str) -> Result<GroupList> {
    let deadline = log.clock().monotonic() + COORDINATOR_WAIT;
    loop {
        match log.asker().fetch_group_list(Some(group), ASK_WAIT) {
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

/// The process that rightly has a place which `own` has lost; `None` = nobody has, so that it may be taken again.
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
    // Whoever joined after our session had ended is a new member with its own client id.
    Ok(holder(log, group, instance)?.map(|h| h.client).filter(other).map(|client| process_identity::describe(&client)))
}

/// Returns when the place is free or its holder is dead. A dead process of this machine is known at once; elsewhere the
/// session timeout decides.
///
/// Who holds it stands in the blobs, because a coordinator keeps the client id of a place's first member for ever. Only
/// before the first commit is that client id all there is.
fn wait_for_place(
    log: &KafkaLog,
    group: &str,
    instance: &str,
    last_owner: &dyn Fn() -> Result<Option<String>>,
) -> Result<()> {
    let deadline = log.clock().monotonic() + SESSION_TIMEOUT + Duration::from_secs(1);
    let mut told = false;
    while let Some(holder) = holder(log, group, instance)? {
        let client = last_owner()?.unwrap_or(holder.client);
        match process_identity::liveness(&client) {
            Liveness::Dead => return Ok(()),
            // A session of this process that was closed: static members do not leave, their place just ends later.
            Liveness::Alive if process_identity::is_own(&client) => return Ok(()),
            Liveness::Unknown if log.clock().monotonic() < deadline => {
                if !told {
                    tracing::info!(target: "kafka", "waiting for {}", process_identity::describe(&client));
                    told = true;
                }
                log.clock().sleep(ASK_PAUSE);
            }
            Liveness::Alive | Liveness::Unknown => return Err(busy(group, &client)),
        }
    }
    Ok(())
}

/// The error for a place that is taken.
pub(super) fn busy(group: &str, client: &str) -> Error {
    let who = process_identity::describe(client);
    Error::new(Kind::Busy, format!("another Tidegate process with this service id is running: {who}"))
        .with_detail(format!("it writes group {group}"))
        .with_hint("stop that process, or give this one another service id (ksql.service.id)")
}
