/** What an empty server offers: three small worlds that run on a click, and the query to look at. */

const CARS = ['alpine-36', 'bmw-15', 'cadillac-2', 'ferrari-51', 'porsche-6', 'toyota-8'];
const WORDS = 'the tide comes in the tide goes out the gate holds the water and the water turns the wheel'.split(' ');
const LEVELS = ['INFO', 'INFO', 'INFO', 'WARN', 'INFO', 'ERROR'];
const SERVICES = ['checkout', 'search', 'payments'];

const value = text => `'${text.replaceAll("'", "''")}'`;
const noise = () => Math.random();

/** Statements that set a sample up, one row of data for turn `n`, and what to look at. */
export const SAMPLES = [
  {
    name: 'cars',
    setup: [
      "CREATE STREAM IF NOT EXISTS readings (car VARCHAR KEY, speed DOUBLE, rpm INT) WITH (KAFKA_TOPIC='readings', VALUE_FORMAT='JSON', PARTITIONS=2);",
      'CREATE TABLE IF NOT EXISTS car_stats AS\n  SELECT car, COUNT(*) AS n, AVG(speed) AS average, MAX(speed) AS top\n  FROM readings WINDOW TUMBLING (SIZE 10 SECONDS)\n  GROUP BY car;',
    ],
    look: "-- The cars' speeds as they come. The tab Chart draws a line per car.\nSELECT ROWTIME, car, speed FROM readings EMIT CHANGES;",
    view: { tab: 'chart', view: 'append' },
    target: 'READINGS',
    rows: n => CARS.map((car, at) => {
      const speed = 215 + at * 3 + 60 * Math.sin((n / 50 + at / 7) * 2 * Math.PI) + 8 * noise();
      return { CAR: car, SPEED: Math.round(speed * 10) / 10, RPM: Math.round(speed * 34) };
    }),
  },
  {
    name: 'words',
    setup: [
      "CREATE STREAM IF NOT EXISTS lines (line VARCHAR) WITH (KAFKA_TOPIC='lines', VALUE_FORMAT='JSON', PARTITIONS=1);",
      "CREATE STREAM IF NOT EXISTS words AS SELECT EXPLODE(SPLIT(line, ' ')) AS word FROM lines;",
      'CREATE TABLE IF NOT EXISTS word_count AS SELECT word, COUNT(*) AS n FROM words GROUP BY word;',
    ],
    look: '-- How often each word has come: the latest count of each.\nSELECT * FROM word_count EMIT CHANGES;',
    view: { tab: 'rows', view: 'latest' },
    target: 'LINES',
    rows: () => [{ LINE: Array.from({ length: 6 }, () => WORDS[Math.floor(noise() * WORDS.length)]).join(' ') }],
  },
  {
    name: 'logs',
    setup: [
      "CREATE STREAM IF NOT EXISTS logs (service VARCHAR KEY, level VARCHAR, message VARCHAR, millis INT) WITH (KAFKA_TOPIC='logs', VALUE_FORMAT='JSON', PARTITIONS=2);",
      "CREATE STREAM IF NOT EXISTS alerts AS SELECT * FROM logs WHERE level = 'ERROR' OR millis > 900;",
    ],
    look: '-- Only errors and slow requests reach this stream.\nSELECT ROWTIME, * FROM alerts EMIT CHANGES;',
    view: { tab: 'rows', view: 'append' },
    target: 'LOGS',
    rows: () => SERVICES.map(service => {
      const level = LEVELS[Math.floor(noise() * LEVELS.length)];
      const millis = Math.floor(noise() * noise() * 1200);
      return { SERVICE: service, LEVEL: level, MESSAGE: `request took ${millis} ms`, MILLIS: millis };
    }),
  },
];

/** An INSERT of these rows. */
export const insert = (target, rows) => rows.map(row => `INSERT INTO ${target.toLowerCase()} (${Object.keys(row).join(', ')}) VALUES (${Object.values(row).map(one => (typeof one === 'string' ? value(one) : one)).join(', ')});`).join('\n');
