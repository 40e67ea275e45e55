//! Names of settings of Kafka's own clients: ksqlDB accepts them in SET and in requests, and scripts written for it use them.
//!
//! ```text
//! max.poll.records, consumer.max.poll.records, ksql.streams.consumer.max.poll.records     a consumer's
//! producer.linger.ms, ksql.streams.producer.linger.ms                                     a producer's
//! topology.optimization, ksql.streams.topology.optimization                               Kafka Streams'
//! ```
//! They configure clients of the JVM and are accepted without effect. The names are those of `ConsumerConfig`, `ProducerConfig`
//! and `StreamsConfig` of Kafka 4.1. An unknown name is an error, because it is a typing error.

/// Is `name` a setting of a client, in one of the forms above? `ksql.streams.` is taken off before.
pub(super) fn is_known(name: &str) -> bool {
    let streams_clients = ["main.consumer.", "restore.consumer.", "global.consumer.", "consumer."];
    if let Some(rest) = streams_clients.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        return is_one_of(rest, &[CONSUMER, BOTH]);
    }
    if let Some(rest) = name.strip_prefix("producer.") {
        return is_one_of(rest, &[PRODUCER, BOTH]);
    }
    is_one_of(name, &[CONSUMER, PRODUCER, BOTH, STREAMS])
}

fn is_one_of(name: &str, tables: &[&[&str]]) -> bool {
    tables.iter().any(|table| table.binary_search(&name).is_ok())
}

/// Of consumers and producers; sorted, as the other tables.
const BOTH: &[&str] = &[
    "auto.include.jmx.reporter",
    "bootstrap.servers",
    "client.dns.lookup",
    "client.id",
    "connections.max.idle.ms",
    "enable.metrics.push",
    "interceptor.classes",
    "metadata.max.age.ms",
    "metadata.recovery.strategy",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "receive.buffer.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.client.callback.handler.class",
    "sasl.jaas.config",
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.service.name",
    "sasl.kerberos.ticket.renew.jitter",
    "sasl.kerberos.ticket.renew.window.factor",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.login.connect.timeout.ms",
    "sasl.login.read.timeout.ms",
    "sasl.login.refresh.buffer.seconds",
    "sasl.login.refresh.min.period.seconds",
    "sasl.login.refresh.window.factor",
    "sasl.login.refresh.window.jitter",
    "sasl.login.retry.backoff.max.ms",
    "sasl.login.retry.backoff.ms",
    "sasl.mechanism",
    "sasl.oauthbearer.scope.claim.name",
    "sasl.oauthbearer.sub.claim.name",
    "sasl.oauthbearer.token.endpoint.url",
    "security.protocol",
    "security.providers",
    "send.buffer.bytes",
    "socket.connection.setup.timeout.max.ms",
    "socket.connection.setup.timeout.ms",
    "ssl.cipher.suites",
    "ssl.enabled.protocols",
    "ssl.endpoint.identification.algorithm",
    "ssl.engine.factory.class",
    "ssl.key.password",
    "ssl.keymanager.algorithm",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.protocol",
    "ssl.provider",
    "ssl.secure.random.implementation",
    "ssl.trustmanager.algorithm",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

/// Of consumers.
const CONSUMER: &[&str] = &[
    "allow.auto.create.topics",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "check.crcs",
    "client.rack",
    "default.api.timeout.ms",
    "enable.auto.commit",
    "exclude.internal.topics",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.min.bytes",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "key.deserializer",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "max.poll.records",
    "partition.assignment.strategy",
    "session.timeout.ms",
    "value.deserializer",
];

/// Of producers.
const PRODUCER: &[&str] = &[
    "acks",
    "batch.size",
    "buffer.memory",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delivery.timeout.ms",
    "enable.idempotence",
    "key.serializer",
    "linger.ms",
    "max.block.ms",
    "max.in.flight.requests.per.connection",
    "max.request.size",
    "metadata.max.idle.ms",
    "partitioner.adaptive.partitioning.enable",
    "partitioner.availability.timeout.ms",
    "partitioner.class",
    "partitioner.ignore.keys",
    "retries",
    "transaction.timeout.ms",
    "transactional.id",
    "value.serializer",
];

/// Of Kafka Streams.
const STREAMS: &[&str] = &[
    "acceptable.recovery.lag",
    "application.id",
    "application.server",
    "buffered.records.per.partition",
    "built.in.metrics.version",
    "cache.max.bytes.buffering",
    "commit.interval.ms",
    "default.client.supplier",
    "default.deserialization.exception.handler",
    "default.dsl.store",
    "default.key.serde",
    "default.list.key.serde.inner",
    "default.list.key.serde.type",
    "default.list.value.serde.inner",
    "default.list.value.serde.type",
    "default.production.exception.handler",
    "default.timestamp.extractor",
    "default.value.serde",
    "deserialization.exception.handler",
    "dsl.store.suppliers.class",
    "ensure.explicit.internal.resource.naming",
    "log.summary.interval.ms",
    "max.task.idle.ms",
    "max.warmup.replicas",
    "num.standby.replicas",
    "poll.ms",
    "probing.rebalance.interval.ms",
    "processing.exception.handler",
    "processing.guarantee",
    "production.exception.handler",
    "rack.aware.assignment.non_overlap_cost",
    "rack.aware.assignment.strategy",
    "rack.aware.assignment.tags",
    "rack.aware.assignment.traffic_cost",
    "repartition.purge.interval.ms",
    "replication.factor",
    "rocksdb.config.setter",
    "state.cleanup.delay.ms",
    "state.dir",
    "statestore.cache.max.bytes",
    "task.assignor.class",
    "task.timeout.ms",
    "topology.optimization",
    "upgrade.from",
    "window.size.ms",
    "windowed.inner.class.serde",
    "windowstore.changelog.additional.retention.ms",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_with_and_without_prefix() {
        for table in [BOTH, CONSUMER, PRODUCER, STREAMS] {
            assert!(table.is_sorted());
            assert!(table.iter().all(|name| is_known(name)));
        }
        for name in ["consumer.max.poll.records", "producer.batch.size", "restore.consumer.client.id", "application.id"]
        {
            assert!(is_known(name), "{name}");
        }
        for name in [
            "consumer.batch.size",
            "producer.max.poll.records",
            "consumer.",
            "max.poll.record",
            "consumer.consumer.client.id",
        ] {
            assert!(!is_known(name), "{name}");
        }
    }
}
