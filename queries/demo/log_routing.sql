-- Log lines as they come from many hosts, each host's into a topic of its own; what cannot be read goes to the dead letters.
--
--   tidegate run queries/demo/log_routing.sql
--   echo '{"host":"db-1","level":"WARN","message":"slow"}' | tidegate topic produce log_lines    (in a second terminal)
--   tidegate topic print logs_db_1 -b

-- Text first: whether a line is JSON is asked below, so that none is lost.
CREATE STREAM IF NOT EXISTS log_lines (line VARCHAR)
  WITH (KAFKA_TOPIC = 'log_lines', VALUE_FORMAT = 'KAFKA', PARTITIONS = 1);

INSERT INTO log_lines (line) VALUES ('{"host":"web-1","level":"INFO","message":"GET / 200"}');
INSERT INTO log_lines (line) VALUES ('{"host":"web-2","level":"ERROR","message":"GET /cart 500"}');
INSERT INTO log_lines (line) VALUES ('Nov 21 10:00:00 web-1 kernel: out of memory');
INSERT INTO log_lines (line) VALUES ('{"host":"db-1","level":"WARN","message":"slow query","ms":1800}');
INSERT INTO log_lines (line) VALUES ('{"level":"INFO","message":"from nowhere"}');
INSERT INTO log_lines (line) VALUES ('{"host":"web-1","level":"ERROR","message":"GET /cart 500"}');
INSERT INTO log_lines (line) VALUES ('{"host":"web-1","level":');

CREATE STREAM IF NOT EXISTS dead_letters WITH (KAFKA_TOPIC = 'dead_letters', VALUE_FORMAT = 'JSON') AS
  SELECT
    CASE WHEN IS_JSON_STRING(line) THEN 'no host' ELSE 'not JSON' END AS reason,
    line
  FROM log_lines
  WHERE NOT IS_JSON_STRING(line) OR EXTRACTJSONFIELD(line, '$.host') IS NULL
  EMIT CHANGES;

-- The host is the key from here on, so that one host's lines keep their order.
CREATE STREAM IF NOT EXISTS logs WITH (KAFKA_TOPIC = 'logs', VALUE_FORMAT = 'JSON', PARTITIONS = 2) AS
  SELECT
    EXTRACTJSONFIELD(line, '$.host') AS host,
    EXTRACTJSONFIELD(line, '$.level') AS level,
    EXTRACTJSONFIELD(line, '$.message') AS message
  FROM log_lines
  WHERE IS_JSON_STRING(line) AND EXTRACTJSONFIELD(line, '$.host') IS NOT NULL
  PARTITION BY EXTRACTJSONFIELD(line, '$.host')
  EMIT CHANGES;

CREATE STREAM IF NOT EXISTS logs_web_1 WITH (KAFKA_TOPIC = 'logs_web_1') AS
  SELECT * FROM logs WHERE host = 'web-1' EMIT CHANGES;
CREATE STREAM IF NOT EXISTS logs_web_2 WITH (KAFKA_TOPIC = 'logs_web_2') AS
  SELECT * FROM logs WHERE host = 'web-2' EMIT CHANGES;
CREATE STREAM IF NOT EXISTS logs_db_1 WITH (KAFKA_TOPIC = 'logs_db_1') AS
  SELECT * FROM logs WHERE host = 'db-1' EMIT CHANGES;
