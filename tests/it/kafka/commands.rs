//! Several engines of one service on a real broker: each carries out statements, and all have the same catalogue.

use super::*;

/// A process of a service.
fn member(bootstrap: &str, service: &str, slot: &str) -> Engine {
    let KafkaSettings { bootstrap, properties } = KafkaSettings::new(bootstrap);
    let mut config = Config::new(LogConfig::Kafka { bootstrap, properties });
    service.clone_into(&mut config.service_id);
    config.set("tidegate.slot", slot).unwrap();
    Engine::open(config, SystemClock::shared()).expect("the broker runs")
}

/// What is the same in all processes.
fn made(engine: &Engine) -> String {
    let statuses: std::collections::BTreeMap<_, _> =
        engine.statuses().into_iter().map(|status| (status.command_id, (status.message, status.sequence))).collect();
    format!("{:#?}\n{statuses:#?}", engine.catalog())
}

#[test]
fn any_process_carries_out_statements() {
    let Some(broker) = broker::shared("any_process_carries_out_statements") else { return };
    let service = fresh("commands_");
    let engines: Vec<Engine> = ["a", "b"].iter().map(|slot| member(&broker.bootstrap, &service, slot)).collect();
    let log = connect(&broker.bootstrap);
    let input = topic(&log, "in", 1).name;
    let source = format!("WITH (KAFKA_TOPIC='{input}', VALUE_FORMAT='JSON')");
    run(&engines[0], &format!("CREATE STREAM s (k STRING KEY, n INT) {source};"));
    engines[1].wait_for_command(0).unwrap();
    run(
        &engines[1],
        &format!(
            "CREATE TABLE counted WITH (KAFKA_TOPIC='{}') AS SELECT k, COUNT(*) AS c FROM s GROUP BY k;",
            fresh("out")
        ),
    );
    engines[0].wait_for_command(1).unwrap();
    assert_eq!(made(&engines[0]), made(&engines[1]));
    // Both write at the same time, and neither sees the other.
    std::thread::scope(|scope| {
        for (nth, engine) in engines.iter().enumerate() {
            let source = &source;
            scope.spawn(move || {
                for n in 0..30 {
                    run(engine, &format!("CREATE STREAM s{nth}_{n} (k STRING KEY, n INT) {source};"));
                    if n % 3 == 2 {
                        run(engine, &format!("DROP STREAM s{nth}_{n};"));
                    }
                }
            });
        }
    });
    engines.iter().for_each(|engine| engine.read_commands().unwrap());
    assert_eq!(made(&engines[0]), made(&engines[1]));
    assert_eq!(engines[0].catalog().all().count(), 2 + 40);
    // What one terminates ends in the other, whichever runs it.
    run(&engines[0], "DROP TABLE counted;");
    engines[1].read_commands().unwrap();
    assert!(engines.iter().all(|engine| engine.queries().is_empty()));
    let internal = |name: &str| name.starts_with(&format!("_confluent-ksql-{service}query_"));
    let left: Vec<String> = log.topics().unwrap().into_iter().map(|t| t.name).filter(|name| internal(name)).collect();
    assert_eq!(left, Vec::<String>::new());
    engines[1].terminate_cluster(&[], &Statements::default()).unwrap();
    until("both have ended", Duration::from_secs(10), || engines.iter().all(Engine::is_over).then_some(()));
    engines.iter().for_each(Engine::close);
}
