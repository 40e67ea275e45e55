-- Racing cars: sensor readings in a topic, and what they add up to in another one.
--
--   tidegate demo                      feeds the topic with readings as they come and shows the table as it changes
--   tidegate run queries/demo/cars.sql  runs the same statements over the few readings below

CREATE STREAM IF NOT EXISTS readings (
    car VARCHAR KEY, speed DOUBLE, rpm INT, temperature DOUBLE
  ) WITH (KAFKA_TOPIC = 'readings', VALUE_FORMAT = 'JSON', PARTITIONS = 4);

INSERT INTO readings (car, speed, rpm, temperature) VALUES ('porsche-6', 231.5, 7900, 104.2);
INSERT INTO readings (car, speed, rpm, temperature) VALUES ('ferrari-51', 228.0, 7750, 106.9);
INSERT INTO readings (car, speed, rpm, temperature) VALUES ('porsche-6', 188.5, 6400, 103.1);

-- Per car and ten seconds: how many readings, how fast, how hot. Runs for ever, exactly once.
CREATE TABLE IF NOT EXISTS car_stats WITH (KAFKA_TOPIC = 'car_stats') AS
  SELECT car, COUNT(*) AS readings, AVG(speed) AS avg_speed,
         AVG(rpm) AS avg_rpm, AVG(temperature) AS avg_temperature
  FROM readings WINDOW TUMBLING (SIZE 10 SECONDS)
  GROUP BY car EMIT CHANGES;

-- The table as it changes.
SELECT car, FROM_UNIXTIME(WINDOWSTART) AS window_start, readings,
       ROUND(avg_speed, 1) AS avg_speed, ROUND(avg_rpm) AS avg_rpm
  FROM car_stats EMIT CHANGES;
