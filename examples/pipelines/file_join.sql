-- Orders and customers from files, through Kafka Connect, joined, and into a file again. `run.sh file_join` starts all parts of it;
-- over brokers and a worker that are there:
--
--   tidegate run examples/pipelines/file_join.sql --bootstrap-servers HOST:9092 --set ksql.connect.url=http://HOST:8083
--
-- The files are the worker's. Lines of them are records: text, so that no converter changes them.

-- DEFINE dir = '...';      the folder of the files; run.sh puts this line in

CREATE STREAM IF NOT EXISTS customer_lines (id INT, name VARCHAR)
  WITH (KAFKA_TOPIC = 'join_customers', VALUE_FORMAT = 'DELIMITED', PARTITIONS = 1);

CREATE STREAM IF NOT EXISTS orders (customer INT, item VARCHAR, price DOUBLE)
  WITH (KAFKA_TOPIC = 'join_orders', VALUE_FORMAT = 'DELIMITED', PARTITIONS = 1);

-- A file has no keys: the latest line of each customer is what they are now.
CREATE TABLE IF NOT EXISTS customers WITH (KAFKA_TOPIC = 'join_customer_table') AS
  SELECT id, LATEST_BY_OFFSET(name) AS name FROM customer_lines GROUP BY id EMIT CHANGES;

-- The sink writes the values alone, so that the customer is copied into them.
CREATE STREAM IF NOT EXISTS sold WITH (KAFKA_TOPIC = 'join_sold') AS
  SELECT o.customer AS id, AS_VALUE(o.customer) AS customer, c.name AS name, o.item AS item, o.price AS price
  FROM orders o JOIN customers c ON o.customer = c.id
  EMIT CHANGES;

CREATE SOURCE CONNECTOR IF NOT EXISTS join_customers WITH (
  'connector.class' = 'FileStreamSource',
  'file' = '${dir}/customers.csv',
  'topic' = 'join_customers',
  'value.converter' = 'org.apache.kafka.connect.storage.StringConverter'
);
CREATE SOURCE CONNECTOR IF NOT EXISTS join_orders WITH (
  'connector.class' = 'FileStreamSource',
  'file' = '${dir}/orders.csv',
  'topic' = 'join_orders',
  'value.converter' = 'org.apache.kafka.connect.storage.StringConverter'
);
CREATE SINK CONNECTOR IF NOT EXISTS join_sold WITH (
  'connector.class' = 'FileStreamSink',
  'topics' = 'join_sold',
  'file' = '${dir}/sold.csv',
  'value.converter' = 'org.apache.kafka.connect.storage.StringConverter'
);
