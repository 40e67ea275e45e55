-- Log lines of many hosts, shipped by Filebeat, each host's in a topic of its own, what cannot be read in the dead letters, and all of
-- it in OpenSearch, an index a topic, through a connector that SQL creates. `run.sh log_search` starts all parts of it.
--
--   Filebeat -> search_lines -> logs -> logs_web_1, logs_db_1 -> connector -> OpenSearch
--                            -> search_dead_letters           ->

-- DEFINE search = 'http://localhost:9200';      run.sh puts this line in

-- Text first: whether a line is JSON is asked below, so that none is lost. Filebeat's own envelope is JSON in any case.
CREATE STREAM IF NOT EXISTS search_lines (line VARCHAR)
  WITH (KAFKA_TOPIC = 'search_lines', VALUE_FORMAT = 'KAFKA', PARTITIONS = 1);

-- `message` is the line as it was in the file.
CREATE STREAM IF NOT EXISTS search_messages WITH (KAFKA_TOPIC = 'search_messages', VALUE_FORMAT = 'KAFKA') AS
  SELECT COALESCE(EXTRACTJSONFIELD(line, '$.message'), line) AS message FROM search_lines EMIT CHANGES;

CREATE STREAM IF NOT EXISTS search_dead_letters WITH (KAFKA_TOPIC = 'search_dead_letters', VALUE_FORMAT = 'JSON') AS
  SELECT
    CASE WHEN IS_JSON_STRING(message) THEN 'no host' ELSE 'not JSON' END AS reason,
    message
  FROM search_messages
  WHERE NOT IS_JSON_STRING(message) OR EXTRACTJSONFIELD(message, '$.host') IS NULL
  EMIT CHANGES;

CREATE STREAM IF NOT EXISTS search_logs WITH (KAFKA_TOPIC = 'search_logs', VALUE_FORMAT = 'JSON') AS
  SELECT
    EXTRACTJSONFIELD(message, '$.host') AS host,
    EXTRACTJSONFIELD(message, '$.level') AS level,
    EXTRACTJSONFIELD(message, '$.text') AS text
  FROM search_messages
  WHERE IS_JSON_STRING(message) AND EXTRACTJSONFIELD(message, '$.host') IS NOT NULL
  EMIT CHANGES;

CREATE STREAM IF NOT EXISTS search_web_1 WITH (KAFKA_TOPIC = 'search_web_1') AS
  SELECT * FROM search_logs WHERE host = 'web-1' EMIT CHANGES;
CREATE STREAM IF NOT EXISTS search_db_1 WITH (KAFKA_TOPIC = 'search_db_1') AS
  SELECT * FROM search_logs WHERE host = 'db-1' EMIT CHANGES;

CREATE SINK CONNECTOR IF NOT EXISTS search WITH (
  'connector.class' = 'tidegate.examples.SearchSink',
  'topics' = 'search_web_1,search_db_1,search_dead_letters',
  'connection.url' = '${search}',
  'tasks.max' = 1
);
