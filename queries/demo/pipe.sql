-- A pipe: what comes into one topic goes into another one as it is, keys and times with it.
--
--   tidegate run queries/demo/pipe.sql
--   echo 'hello' | tidegate topic produce pipe_input       (in a second terminal)
--   tidegate topic print pipe_output -b

CREATE STREAM IF NOT EXISTS pipe_input (id VARCHAR KEY, line VARCHAR)
  WITH (KAFKA_TOPIC = 'pipe_input', FORMAT = 'KAFKA', PARTITIONS = 1);

INSERT INTO pipe_input (id, line) VALUES ('1', 'all streams lead to kafka');
INSERT INTO pipe_input (id, line) VALUES ('2', 'hello kafka streams');

CREATE STREAM IF NOT EXISTS pipe_output WITH (KAFKA_TOPIC = 'pipe_output') AS
  SELECT * FROM pipe_input EMIT CHANGES;
