-- Words counted: the word is the key and the count the value, a number of eight bytes as Java's LongDeserializer reads it.
--
--   tidegate run queries/demo/word_count.sql
--   tidegate topic print word_counts -b                    (in a second terminal)

CREATE STREAM IF NOT EXISTS texts (line VARCHAR)
  WITH (KAFKA_TOPIC = 'texts', VALUE_FORMAT = 'KAFKA', PARTITIONS = 1);

INSERT INTO texts (line) VALUES ('All streams lead to Kafka');
INSERT INTO texts (line) VALUES ('Hello Kafka Streams');
INSERT INTO texts (line) VALUES ('Join Kafka Summit');

CREATE STREAM IF NOT EXISTS text_words WITH (KAFKA_TOPIC = 'text_words', VALUE_FORMAT = 'JSON') AS
  SELECT EXPLODE(REGEXP_SPLIT_TO_ARRAY(LCASE(line), '\W+')) AS word FROM texts EMIT CHANGES;

CREATE TABLE IF NOT EXISTS word_counts WITH (KAFKA_TOPIC = 'word_counts', FORMAT = 'KAFKA') AS
  SELECT word, COUNT(*) AS total FROM text_words GROUP BY word EMIT CHANGES;
