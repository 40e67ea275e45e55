-- Lines split into words: a record of its own for each word.
--
--   tidegate run queries/demo/line_split.sql
--   tidegate topic print words -b                          (in a second terminal)

CREATE STREAM IF NOT EXISTS lines (line VARCHAR)
  WITH (KAFKA_TOPIC = 'lines', VALUE_FORMAT = 'KAFKA', PARTITIONS = 1);

INSERT INTO lines (line) VALUES ('All streams lead to Kafka');
INSERT INTO lines (line) VALUES ('Hello Kafka Streams');

CREATE STREAM IF NOT EXISTS words WITH (KAFKA_TOPIC = 'words', VALUE_FORMAT = 'KAFKA') AS
  SELECT EXPLODE(REGEXP_SPLIT_TO_ARRAY(LCASE(line), '\W+')) AS word
  FROM lines
  EMIT CHANGES;
