//! What a log for tests that stands over another one passes on unchanged: a test writes only the methods in which it interferes.

/// The methods of a `Log` over the log `self.below`, but for `reader` and `append`; `but delete_group` leaves out that one, too.
macro_rules! log_below {
    () => {
        log_below!(but delete_group);

        fn delete_group(&self, group: &str) -> tidegate::error::Result<()> {
            self.below.delete_group(group)
        }
    };
    (but delete_group) => {
        fn describe(&self) -> String {
            self.below.describe()
        }

        fn cluster_id(&self) -> tidegate::error::Result<String> {
            self.below.cluster_id()
        }

        fn create_topic(&self, spec: &tidegate::log::TopicSpec) -> tidegate::error::Result<tidegate::log::TopicInfo> {
            self.below.create_topic(spec)
        }

        fn topic(&self, name: &str) -> tidegate::error::Result<Option<tidegate::log::TopicInfo>> {
            self.below.topic(name)
        }

        fn topics(&self) -> tidegate::error::Result<Vec<tidegate::log::TopicInfo>> {
            self.below.topics()
        }

        fn alter_topic(&self, name: &str, changes: &tidegate::log::TopicChanges) -> tidegate::error::Result<()> {
            self.below.alter_topic(name, changes)
        }

        fn delete_topic(&self, name: &str) -> tidegate::error::Result<()> {
            self.below.delete_topic(name)
        }

        fn watermarks(
            &self,
            partition: &tidegate::log::TopicPartition,
        ) -> tidegate::error::Result<tidegate::log::Watermarks> {
            self.below.watermarks(partition)
        }

        fn offset_for_time(
            &self,
            partition: &tidegate::log::TopicPartition,
            timestamp: i64,
        ) -> tidegate::error::Result<Option<i64>> {
            self.below.offset_for_time(partition, timestamp)
        }

        fn spans(
            &self,
            partition: &tidegate::log::TopicPartition,
            offsets: std::ops::Range<i64>,
            times: &std::ops::RangeInclusive<i64>,
        ) -> tidegate::error::Result<Vec<tidegate::log::Span>> {
            self.below.spans(partition, offsets, times)
        }

        fn delete_records(
            &self,
            partition: &tidegate::log::TopicPartition,
            before: i64,
        ) -> tidegate::error::Result<i64> {
            self.below.delete_records(partition, before)
        }

        fn transactional_writer(
            &self,
            spec: &tidegate::log::WriterSpec,
            claim: &std::sync::Arc<dyn tidegate::log::Claim>,
        ) -> tidegate::error::Result<Box<dyn tidegate::log::TransactionalWriter>> {
            self.below.transactional_writer(spec, claim)
        }

        fn service_lock(
            &self,
            group: &str,
            slot: &str,
        ) -> tidegate::error::Result<Option<Box<dyn tidegate::log::ServiceLock>>> {
            self.below.service_lock(group, slot)
        }

        fn committed(
            &self,
            group: &str,
            partitions: &[tidegate::log::TopicPartition],
        ) -> tidegate::error::Result<Vec<Option<tidegate::log::CommittedOffset>>> {
            self.below.committed(group, partitions)
        }
    };
}
pub(crate) use log_below;
