//! What a process shows of the queries that another one runs.

use super::*;

const RECORDS: i32 = 100;
/// For a start, a move and a pulse with counters.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn each_process_shows_the_numbers_of_all_queries_and_measures_its_own() {
    let test = "each_process_shows_the_numbers_of_all_queries_and_measures_its_own";
    let Some(broker) = broker::shared(test) else { return };
    let (folder, log) = (tempfile::tempdir().unwrap(), connect(&broker.bootstrap));
    let (service, source) = (fresh("elsewhere"), topic(&log, "elsewhere-in", 1).name);
    let sink = fresh("elsewhere-out");
    let a = process(&broker.bootstrap, &service, "a", folder.path());
    a.ksql(&format!(
        "CREATE STREAM s (k STRING KEY, v INT) WITH (KAFKA_TOPIC='{source}', VALUE_FORMAT='JSON');
         CREATE TABLE c WITH (KAFKA_TOPIC='{sink}') AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;"
    ))
    .unwrap();
    let mut records = RecordSet::default();
    for n in 0..RECORDS {
        records.push(0, 1, Some(format!("k{}", n % 7).as_bytes()), Some(br#"{"V":1}"#));
    }
    // One record that cannot be read.
    records.push(0, 1, Some(b"k0"), Some(b"{"));
    log.append(&source, &records).unwrap();
    let b = process(&broker.bootstrap, &service, "b", folder.path());
    let numbers = "SELECT rows_in, bad, state_keys, lag FROM system.queries WHERE persistent;";
    let wanted = format!("[{},1,7,0]", RECORDS + 1);
    for server in [&a, &b] {
        let mut said = Vec::new();
        until(&format!("{wanted} everywhere"), PATIENCE, || {
            said = server.rows(numbers).unwrap();
            (said == [wanted.as_str()]).then_some(())
        });
        let described = server.ksql("DESCRIBE C EXTENDED;").unwrap();
        assert!(described.contains(&format!("total-messages-read: {}", RECORDS + 1)), "{described}");
    }
    let measured = |server: &Server| {
        let page = server.get("/metrics").unwrap();
        let mut lines = page.lines().filter(|line| line.starts_with("tidegate_query_records_in_total{"));
        lines.next().map(str::to_owned)
    };
    let (of_a, of_b) = (measured(&a), measured(&b));
    assert!(of_a.as_ref().is_some_and(|line| line.ends_with(&format!(" {}", RECORDS + 1))), "{of_a:?}");
    assert_eq!(of_b, None);
}
