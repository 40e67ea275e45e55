//! Administrative calls that rdkafka does not offer.

use super::{milliseconds, text};
use crate::log::TopicChanges;
use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::ConsumerContext;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
use rdkafka::{Offset, TopicPartitionList};
use std::ffi::CString;
use std::ptr::{null, null_mut, slice_from_raw_parts};
use std::time::Duration;

/// A topic as the cluster describes it.
pub(in crate::log::kafka) struct Described {
    /// The cluster's id of the topic.
    pub(in crate::log::kafka) id: u128,
    /// Number of partitions.
    pub(in crate::log::kafka) partitions: u32,
    /// Copies of partition 0.
    pub(in crate::log::kafka) replicas: u16,
    /// Every partition has a leader, so that it can be read and written.
    pub(in crate::log::kafka) ready: bool,
}

/// Longest timeout that librdkafka takes for a request.
const REQUEST_MAX: Duration = Duration::from_secs(3600);

/// When a request ends: by librdkafka, and for its caller.
struct Patience {
    request: Duration,
    caller: Duration,
}

impl Patience {
    /// librdkafka ends the request by itself; the second is a margin.
    fn ended(timeout: Duration) -> Patience {
        Patience { request: timeout, caller: timeout + Duration::from_secs(1) }
    }

    /// A request to a group's coordinator, whose client has to be dropped when the caller has waited in vain.
    ///
    /// When librdkafka ends such a request while the coordinator is away, it frees what belongs to it, but continues to look for
    /// the coordinator; once that is found it fails the request a second time and aborts the process (`eonce->refcnt > 0`,
    /// rdkafka_queue.h, version 2.12). A client that is dropped ends the request once.
    fn of_coordinator(timeout: Duration) -> Patience {
        Patience { request: REQUEST_MAX, caller: timeout }
    }
}

/// Runs one administrative call and hands its result event to `read`.
///
/// # Safety
/// `call` gives the options and the queue to an administrative function of `op`; `read` uses the event only within.
unsafe fn admin<C: ClientContext, T>(
    client: &Client<C>,
    op: sys::rd_kafka_admin_op_t,
    patience: Patience,
    call: impl FnOnce(*mut sys::rd_kafka_t, *mut sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
    read: impl FnOnce(*mut sys::rd_kafka_event_t) -> Result<T, RDKafkaErrorCode>,
) -> Result<T, RDKafkaErrorCode> {
    let native = client.native_ptr();
    // SAFETY: options, queue and event are ours and destroyed once, after their last use.
    unsafe {
        let options = sys::rd_kafka_AdminOptions_new(native, op);
        sys::rd_kafka_AdminOptions_set_request_timeout(options, milliseconds(patience.request), null_mut(), 0);
        let queue = sys::rd_kafka_queue_new(native);
        call(native, options, queue);
        let event = sys::rd_kafka_queue_poll(queue, milliseconds(patience.caller));
        let result = if event.is_null() {
            Err(RDKafkaErrorCode::OperationTimedOut)
        } else {
            let result = match sys::rd_kafka_event_error(event) {
                RD_KAFKA_RESP_ERR_NO_ERROR => read(event),
                code => Err(code.into()),
            };
            sys::rd_kafka_event_destroy(event);
            result
        };
        sys::rd_kafka_queue_destroy(queue);
        sys::rd_kafka_AdminOptions_destroy(options);
        result
    }
}

/// Describes topics, in the order of `names`; `None` = does not exist.
pub(in crate::log::kafka) fn describe_topics<C: ClientContext>(
    client: &Client<C>,
    names: &[&str],
    timeout: Duration,
) -> Result<Vec<Option<Described>>, RDKafkaErrorCode> {
    let texts: Vec<CString> =
        names.iter().map(|n| CString::new(*n)).collect::<Result<_, _>>().map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
    let mut pointers: Vec<_> = texts.iter().map(|t| t.as_ptr()).collect();
    let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    // SAFETY: the collection copies the names and is destroyed after the call; results live as long as the event.
    unsafe {
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let call = |native, options: *mut _, queue| sys::rd_kafka_DescribeTopics(native, topics, options, queue);
        let found = admin(client, op, Patience::ended(timeout), call, |event| {
            let mut count = 0;
            let result = sys::rd_kafka_event_DescribeTopics_result(event);
            let list = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
            let descriptions = if count == 0 { &[][..] } else { &*slice_from_raw_parts(list, count) };
            let mut by_name = std::collections::BTreeMap::new();
            for description in descriptions {
                by_name.insert(text(sys::rd_kafka_TopicDescription_name(*description)), described(*description)?);
            }
            Ok(by_name)
        });
        sys::rd_kafka_TopicCollection_destroy(topics);
        let mut found = found?;
        Ok(names.iter().map(|name| found.remove(*name).flatten()).collect())
    }
}

/// # Safety
/// `topic` is valid.
unsafe fn described(topic: *const sys::rd_kafka_TopicDescription_t) -> Result<Option<Described>, RDKafkaErrorCode> {
    // SAFETY: promised by the caller; what the accessors lend lives as long as the topic.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            return match sys::rd_kafka_error_code(error).into() {
                RDKafkaErrorCode::NoError => Ok(None),
                RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => Ok(None),
                // A topic that is just being made or removed.
                RDKafkaErrorCode::LeaderNotAvailable => Ok(None),
                // A name that no topic can have.
                RDKafkaErrorCode::InvalidTopic => Ok(None),
                code => Err(code),
            };
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        let high = sys::rd_kafka_Uuid_most_significant_bits(id) as u64;
        let low = sys::rd_kafka_Uuid_least_significant_bits(id) as u64;
        let mut partitions = 0;
        let list = sys::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
        let (mut replicas, mut ready) = (0, partitions > 0);
        for at in 0..partitions {
            let partition = *list.add(at);
            let leader = sys::rd_kafka_TopicPartitionInfo_leader(partition);
            ready &= !leader.is_null() && sys::rd_kafka_Node_id(leader) >= 0;
            if at == 0 {
                sys::rd_kafka_TopicPartitionInfo_replicas(partition, &mut replicas);
            }
        }
        Ok(Some(Described {
            id: (u128::from(high) << 64) | u128::from(low),
            partitions: partitions as u32,
            replicas: u16::try_from(replicas).unwrap_or(u16::MAX),
            ready,
        }))
    }
}

/// Changes settings of a topic, and leaves those that are not named as they are (KIP-339); returns why the cluster refuses them.
pub(in crate::log::kafka) fn alter_topic<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    changes: &TopicChanges,
    timeout: Duration,
) -> Result<Option<(RDKafkaErrorCode, String)>, RDKafkaErrorCode> {
    use sys::rd_kafka_AlterConfigOpType_t::{RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE, RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET};
    let name = CString::new(topic).map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
    let native = |text: &str| CString::new(text).map_err(|_| RDKafkaErrorCode::InvalidConfig);
    let changes = changes.iter().map(|(key, value)| Ok((native(key)?, value.as_deref().map(native).transpose()?)));
    let changes = changes.collect::<Result<Vec<(CString, Option<CString>)>, RDKafkaErrorCode>>()?;
    let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS;
    // SAFETY: the resource copies its texts, the request copies the resource, which is destroyed after the call; results live with
    // their event.
    unsafe {
        let mut resource =
            sys::rd_kafka_ConfigResource_new(sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, name.as_ptr());
        let mut is_legal = true;
        for (key, value) in &changes {
            let (op, value) = match value {
                Some(value) => (RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET, value.as_ptr()),
                None => (RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE, null()),
            };
            let error = sys::rd_kafka_ConfigResource_add_incremental_config(resource, key.as_ptr(), op, value);
            if !error.is_null() {
                sys::rd_kafka_error_destroy(error);
                is_legal = false;
            }
        }
        let call = |native, options: *mut _, queue| {
            sys::rd_kafka_IncrementalAlterConfigs(native, &mut resource, 1, options, queue)
        };
        let result = match is_legal {
            true => admin(client, op, Patience::ended(timeout), call, |event| Ok(refusal(event))),
            false => Err(RDKafkaErrorCode::InvalidConfig),
        };
        sys::rd_kafka_ConfigResource_destroy(resource);
        result
    }
}

/// # Safety
/// `event` is the result of IncrementalAlterConfigs.
unsafe fn refusal(event: *mut sys::rd_kafka_event_t) -> Option<(RDKafkaErrorCode, String)> {
    // SAFETY: promised by the caller; what the accessors lend lives as long as the event.
    unsafe {
        let result = sys::rd_kafka_event_IncrementalAlterConfigs_result(event);
        let mut count = 0;
        let list = sys::rd_kafka_IncrementalAlterConfigs_result_resources(result, &mut count);
        (0..count).find_map(|at| {
            let resource = *list.add(at);
            match sys::rd_kafka_ConfigResource_error(resource) {
                RD_KAFKA_RESP_ERR_NO_ERROR => None,
                code => {
                    let reason = sys::rd_kafka_ConfigResource_error_string(resource);
                    Some((code.into(), if reason.is_null() { String::new() } else { text(reason) }))
                }
            }
        })
    }
}

/// Deletes a group; the error is why that is refused. The client has to be dropped after `OperationTimedOut`, see [`Patience`].
pub(in crate::log::kafka) fn delete_group<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    timeout: Duration,
) -> Result<(), RDKafkaErrorCode> {
    let name = CString::new(group).map_err(|_| RDKafkaErrorCode::InvalidGroupId)?;
    let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEGROUPS;
    // SAFETY: the request copies the name, and is destroyed after the call; results live with their event.
    unsafe {
        let mut request = sys::rd_kafka_DeleteGroup_new(name.as_ptr());
        let call = |native, options: *mut _, queue| sys::rd_kafka_DeleteGroups(native, &mut request, 1, options, queue);
        let result = admin(client, op, Patience::of_coordinator(timeout), call, |event| {
            let mut count = 0;
            let result = sys::rd_kafka_event_DeleteGroups_result(event);
            let groups = sys::rd_kafka_DeleteGroups_result_groups(result, &mut count);
            for at in 0..count {
                let error = sys::rd_kafka_group_result_error(*groups.add(at));
                if !error.is_null() {
                    return Err(sys::rd_kafka_error_code(error).into());
                }
            }
            Ok(())
        });
        sys::rd_kafka_DeleteGroup_destroy(request);
        result
    }
}

/// Forgets all offsets of a group, as far as no member subscribes to their topics. The client has to be dropped after
/// `OperationTimedOut`, see [`Patience`], and has to be a consumer: when the coordinator has moved, librdkafka looks at the group of
/// the client, which a producer lacks (SIGSEGV in `rd_kafka_cgrp_op`).
pub(in crate::log::kafka) fn forget_offsets<C: ConsumerContext>(
    client: &Client<C>,
    group: &str,
    timeout: Duration,
) -> Result<(), RDKafkaErrorCode> {
    let name = CString::new(group).map_err(|_| RDKafkaErrorCode::InvalidGroupId)?;
    let partitions = committed_offsets(client, group, None, false, timeout)?;
    if partitions.count() == 0 {
        return Ok(());
    }
    let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS;
    // SAFETY: the request copies name and list, and is destroyed after the call.
    unsafe {
        let mut request = sys::rd_kafka_DeleteConsumerGroupOffsets_new(name.as_ptr(), partitions.ptr());
        let call = |native, options: *mut _, queue| {
            sys::rd_kafka_DeleteConsumerGroupOffsets(native, &mut request, 1, options, queue)
        };
        let result = admin(client, op, Patience::of_coordinator(timeout), call, |_| Ok(()));
        sys::rd_kafka_DeleteConsumerGroupOffsets_destroy(request);
        result
    }
}

/// Committed offsets of a group, for these partitions or, without a list, for all that have one; a partition without one has no offset.
///
/// `is_stable`: `UnstableOffsetCommit` while an open transaction contains a newer one (KIP-447). Whether the group has members
/// makes no difference. After `OperationTimedOut` and `NotCoordinator` the client has to be dropped: see [`Patience`], and
/// librdkafka keeps the coordinator that it once found (only its producers forget it). It has to be a consumer, see
/// [`forget_offsets`].
pub(in crate::log::kafka) fn committed_offsets<C: ConsumerContext>(
    client: &Client<C>,
    group: &str,
    wanted: Option<&TopicPartitionList>,
    is_stable: bool,
    timeout: Duration,
) -> Result<TopicPartitionList, RDKafkaErrorCode> {
    let name = CString::new(group).map_err(|_| RDKafkaErrorCode::InvalidGroupId)?;
    let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
    let list = wanted.map_or(null_mut(), |wanted| wanted.ptr());
    // SAFETY: NULL asks for all partitions; the request copies the list and is destroyed after the call, the result lives with
    // its event.
    unsafe {
        let mut request = sys::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), list);
        let call = |native, options: *mut _, queue| {
            let refused = sys::rd_kafka_AdminOptions_set_require_stable_offsets(options, i32::from(is_stable));
            if !refused.is_null() {
                sys::rd_kafka_error_destroy(refused);
            }
            sys::rd_kafka_ListConsumerGroupOffsets(native, &mut request, 1, options, queue)
        };
        let result = admin(client, op, Patience::of_coordinator(timeout), call, |event| {
            let mut count = 0;
            let result = sys::rd_kafka_event_ListConsumerGroupOffsets_result(event);
            let groups = sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count);
            offsets_of(if count == 0 { null() } else { *groups })
        });
        sys::rd_kafka_ListConsumerGroupOffsets_destroy(request);
        result
    }
}

/// Commits an offset of a group without members, outside of any transaction. The client has to be dropped as after
/// [`committed_offsets`].
pub(in crate::log::kafka) fn commit_offset<C: ConsumerContext>(
    client: &Client<C>,
    group: &str,
    (topic, partition, offset): (&str, i32, i64),
    timeout: Duration,
) -> Result<(), RDKafkaErrorCode> {
    let name = CString::new(group).map_err(|_| RDKafkaErrorCode::InvalidGroupId)?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset))
        .map_err(|_| RDKafkaErrorCode::InvalidArgument)?;
    let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS;
    // SAFETY: the request copies name and list, and is destroyed after the call; the result lives with its event.
    unsafe {
        let mut request = sys::rd_kafka_AlterConsumerGroupOffsets_new(name.as_ptr(), list.ptr());
        let call = |native, options: *mut _, queue| {
            sys::rd_kafka_AlterConsumerGroupOffsets(native, &mut request, 1, options, queue)
        };
        let result = admin(client, op, Patience::of_coordinator(timeout), call, |event| {
            let mut count = 0;
            let result = sys::rd_kafka_event_AlterConsumerGroupOffsets_result(event);
            let groups = sys::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &mut count);
            offsets_of(if count == 0 { null() } else { *groups }).map(drop)
        });
        sys::rd_kafka_AlterConsumerGroupOffsets_destroy(request);
        result
    }
}

/// The partitions of a group's result; the first error of the group or of a partition is the error.
///
/// # Safety
/// `group` is NULL or valid.
unsafe fn offsets_of(group: *const sys::rd_kafka_group_result_t) -> Result<TopicPartitionList, RDKafkaErrorCode> {
    let mut all = TopicPartitionList::new();
    if group.is_null() {
        return Ok(all);
    }
    // SAFETY: promised by the caller; what the accessors lend lives as long as the group.
    unsafe {
        let error = sys::rd_kafka_group_result_error(group);
        if !error.is_null() {
            return Err(sys::rd_kafka_error_code(error).into());
        }
        let list = sys::rd_kafka_group_result_partitions(group);
        let count = if list.is_null() { 0 } else { usize::try_from((*list).cnt).unwrap_or(0) };
        for at in 0..count {
            let element = &*(*list).elems.add(at);
            if element.err != RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(element.err.into());
            }
            let topic = text(element.topic);
            let mut added = all.add_partition(&topic, element.partition);
            if element.offset >= 0 {
                let set = added.set_offset(Offset::Offset(element.offset));
                set.map_err(|_| RDKafkaErrorCode::InvalidArgument)?;
            }
            if !element.metadata.is_null() {
                let bytes = &*slice_from_raw_parts(element.metadata as *const u8, element.metadata_size);
                added.set_metadata(String::from_utf8_lossy(bytes));
            }
        }
    }
    Ok(all)
}
