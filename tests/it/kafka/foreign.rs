//! Two services on one cluster: neither reaches the topics that the other keeps for itself.

use super::*;

#[test]
fn another_services_command_log_is_not_touched() {
    let Some(broker) = broker::shared("another_services_command_log_is_not_touched") else { return };
    let log = connect(&broker.bootstrap);
    let (first, second) = (fresh("first_"), fresh("second_"));
    let commands = format!("_confluent-ksql-{first}_command_topic");
    let with = |stem: &str| format!("WITH (KAFKA_TOPIC='{}', PARTITIONS=1, VALUE_FORMAT='KAFKA')", fresh(stem));
    let victim = engine(KafkaSettings::new(&broker.bootstrap), &first);
    run(&victim, &format!("CREATE STREAM readings (v STRING) {};", with("readings")));
    let attacker = engine(KafkaSettings::new(&broker.bootstrap), &second);
    run(&attacker, &format!("CREATE STREAM src (v STRING) {};", with("src")));
    for attack in [
        format!("CREATE STREAM `{commands}` WITH (VALUE_FORMAT='KAFKA') AS SELECT v FROM src;"),
        format!("CREATE STREAM x WITH (KAFKA_TOPIC='{commands}') AS SELECT v FROM src;"),
        format!("CREATE STREAM x (v STRING) WITH (KAFKA_TOPIC='{commands}', VALUE_FORMAT='KAFKA');"),
        "CREATE STREAM `__consumer_offsets` AS SELECT v FROM src;".to_owned(),
    ] {
        let error = attacker.run(&attack, &mut Statements::default()).unwrap_err();
        assert!(error.message().starts_with("Cannot use the internal topic: "), "{attack}: {error}");
    }
    // What a client of the cluster writes there is skipped, and the service starts.
    let forged = r#"{"format":1,"engine":"0.1.0","sequence":99,"statement":"DROP STREAM readings","properties":{},"effect":{"drop":{"name":"READINGS"}}}"#;
    log.append(&commands, &set(&[(0, 0, "k", forged), (0, 0, "k", "not json")])).unwrap();
    victim.close();
    drop(victim);
    let mut config = Config::new(LogConfig::Kafka {
        bootstrap: broker.bootstrap.clone(),
        properties: KafkaSettings::new(&broker.bootstrap).properties,
    });
    first.clone_into(&mut config.service_id);
    let clock = SystemClock::shared();
    {
        let again = Engine::open(config.clone(), clock.clone()).unwrap();
        assert_eq!(again.skipped_commands(), 2);
        assert!(again.catalog().source("READINGS").is_some());
        // Nothing is repaired under a service that runs.
        assert_eq!(Engine::repair(&config, &clock, &Wanted::default()).unwrap_err().kind(), Kind::Busy);
        again.close();
    }
    let report = Engine::repair(&config, &clock, &Wanted { skipped: true, offsets: Vec::new() }).unwrap();
    assert_eq!((report.removed, report.history.commands.len()), (2, 1));
    let again = Engine::open(config, clock).unwrap();
    assert_eq!(again.skipped_commands(), 0);
    assert!(again.catalog().source("READINGS").is_some());
}
