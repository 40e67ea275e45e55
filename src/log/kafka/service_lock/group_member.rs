//! Static membership in a group (K1, KIP-345): the coordinator gives the place of an instance id to one process at a time.

use crate::error::{Error, Kind, Result};
use crate::log::kafka::client::{Events, Membership, SESSION_TIMEOUT, failed, retire};
use crate::log::kafka::process_identity::{self, Liveness, busy};
use crate::log::kafka::{KafkaLog, make_client};
use crate::threads;
use crate::types::clock::SharedClock;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
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
/// Timeout of one request to the coordinator.
const ASK_WAIT: Duration = Duration::from_secs(10);
/// How long a coordinator may take to become available: a broker that has just started loads its offsets first.
const COORDINATOR_WAIT: Duration = Duration::from_secs(30);
/// A group forms within the broker's rebalance delay (3 s) plus the session timeout of a dead member.
const JOIN_WAIT: Duration = Duration::from_secs(30);

/// The consumer and the thread that polls it.
pub(super) struct GroupMember {
    consumer: Arc<BaseConsumer<Membership>>,
    clock: SharedClock,
    group: String,
    stop: Arc<AtomicBool>,
}

impl GroupMember {
    /// Starts joining `group`, unless a live process holds the place. `last_holder` reads the client id in the commit metadata.
    pub(super) fn join(
        log: &KafkaLog,
        group: &str,
        instance: &str,
        topic: &str,
        last_holder: &dyn Fn() -> Result<Option<String>>,
    ) -> Result<GroupMember> {
        wait_for_place(log, group, instance, last_holder)?;
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
        Ok(GroupMember { consumer, clock: log.clock().clone(), group: group.to_owned(), stop })
    }

    /// Waits until all tasks are assigned to this member.
    pub(super) fn wait_for_tasks(&self, tasks: usize) -> Result<()> {
        let deadline = self.clock.monotonic() + JOIN_WAIT;
        loop {
            if let Some(reason) = self.fatal() {
                return Err(Error::new(Kind::Fenced, "another process took over this service").with_detail(reason));
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

    /// Commits offsets as a member; an error if another process has taken the place meanwhile.
    pub(super) fn commit(&self, offsets: &TopicPartitionList) -> Result<()> {
        self.consumer.commit(offsets, CommitMode::Sync).map_err(|e| failed("commit who holds the service", e))
    }

    /// K1: why this membership has ended for good: another process has the place.
    fn fatal(&self) -> Option<String> {
        self.consumer.client().fatal_error().map(|(code, reason)| format!("{reason} ({code:?})"))
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

/// Client id of the holder of a static place in a group.
fn holder(log: &KafkaLog, group: &str, instance: &str) -> Result<Option<String>> {
    let groups = group_list(log, group)?;
    // The coordinator composes a static member's id of its instance id and a UUID (`GroupMetadata.generateMemberId`).
    let is_instance =
        |id: &str| id.strip_prefix(instance).is_some_and(|rest| rest.len() == 37 && rest.starts_with('-'));
    let members = groups.groups().iter().flat_map(|g| g.members());
    Ok(members.filter(|m| is_instance(m.id())).map(|m| m.client_id().to_owned()).next())
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

/// K1: returns when the place is free or its holder is dead. The death of a process of this machine is known at once; elsewhere
/// the session timeout decides.
///
/// The holder is read from the commit metadata, because a coordinator keeps the client id of a place's first member for ever.
/// Only before the first commit is that client id all there is.
fn wait_for_place(
    log: &KafkaLog,
    group: &str,
    instance: &str,
    last_holder: &dyn Fn() -> Result<Option<String>>,
) -> Result<()> {
    let deadline = log.clock().monotonic() + SESSION_TIMEOUT + Duration::from_secs(1);
    let mut logged = false;
    while let Some(holder) = holder(log, group, instance)? {
        let client = last_holder()?.unwrap_or(holder);
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
