// npm ksqldb-client-node: result sets only, over cleartext HTTP/2, as an async iterator; the header has to be alone in its
// frame. Statements are sent without it.
const { assert, url, run, ksql, until } = require('./steps');
const { KsqlDbClient } = require('ksqldb-client-node');

const session = new KsqlDbClient({ url, auth: {} }).session();

async function rows(sql) {
  const all = [];
  for await (const some of session.queryStream({ sql, properties: {}, sessionVariables: { table: 'c' } })) all.push(...some);
  return all;
}

let live;

run({
  'create, create table as select': async () => {
    await ksql("CREATE STREAM s (k VARCHAR KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);"
      + "SET 'auto.offset.reset' = 'earliest'; CREATE TABLE c AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;");
  },
  list: async () => assert.deepStrictEqual((await ksql('LIST STREAMS;'))[0].streams.map((s) => s.name), ['S']),
  push: async () => {
    live = session.queryStream({ sql: 'SELECT k, n FROM s EMIT CHANGES LIMIT 3;' });
    const got = (async () => {
      const all = [];
      for await (const some of live) all.push(...some);
      return all;
    })();
    await until(() => live.queryId, (id) => id !== undefined);
    await ksql("INSERT INTO s VALUES ('a', 1); INSERT INTO s VALUES ('a', 2); INSERT INTO s VALUES ('b', 3);");
    assert.deepStrictEqual(await got, [{ K: 'a', N: 1 }, { K: 'a', N: 2 }, { K: 'b', N: 3 }]);
    assert.deepStrictEqual(live.columnTypes, ['STRING', 'INTEGER']);
  },
  'pull, with a variable': async () => {
    await until(() => rows("SELECT n FROM ${table} WHERE k = 'a';"), (all) => all.length === 1 && all[0].N === 2);
  },
  'push of many rows': async () => {
    const all = rows('SELECT n FROM s EMIT CHANGES LIMIT 500;');
    await new Promise((resolve) => setTimeout(resolve, 500));
    const text = Array.from({ length: 50 }, (_, n) => `INSERT INTO s VALUES ('c', ${n});`).join('');
    for (let i = 0; i < 10; i++) await ksql(text);
    assert.strictEqual((await all).length, 500);
  },
  terminate: () => ksql('TERMINATE CTAS_C_1;'),
  error: async () => {
    const failing = session.queryStream({ sql: 'SELECT * FROM missing EMIT CHANGES;' });
    await assert.rejects(async () => { for await (const some of failing) assert.fail(some); });
    assert.strictEqual(failing.errorCode, 40001);
    assert.match(failing.errorMessage, /MISSING/);
  },
  close: () => session.close(),
});
