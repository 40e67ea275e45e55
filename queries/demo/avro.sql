-- Orders in Avro: schemas are registered as streams are created, and read back by a stream that declares no columns.
--
--   tidegate run queries/demo/avro.sql
--   echo 'SHOW SCHEMAS;' | tidegate sql                                (in a second terminal)
--   tidegate topic print large_orders -b

CREATE STREAM IF NOT EXISTS orders (id INT KEY, customer VARCHAR, items ARRAY<VARCHAR>, total DECIMAL(8, 2))
  WITH (KAFKA_TOPIC = 'orders', VALUE_FORMAT = 'AVRO', PARTITIONS = 1);

INSERT INTO orders VALUES (1, 'minjun', ARRAY['tea', 'cup'], 24.50);
INSERT INTO orders VALUES (2, 'seoyeon', ARRAY['lamp'], 120.00);
INSERT INTO orders VALUES (3, 'minjun', ARRAY['desk', 'chair'], 480.90);

-- The latest version of the subject orders-value says what the columns are.
CREATE STREAM IF NOT EXISTS orders_as_registered (id INT KEY)
  WITH (KAFKA_TOPIC = 'orders', VALUE_FORMAT = 'AVRO');

CREATE STREAM IF NOT EXISTS large_orders WITH (KAFKA_TOPIC = 'large_orders') AS
  SELECT id, customer, ARRAY_LENGTH(items) AS pieces, total FROM orders_as_registered WHERE total >= 100 EMIT CHANGES;

CREATE TABLE IF NOT EXISTS spent_by_customer WITH (KAFKA_TOPIC = 'spent_by_customer', KEY_FORMAT = 'AVRO') AS
  SELECT customer, SUM(total) AS spent FROM orders GROUP BY customer EMIT CHANGES;
