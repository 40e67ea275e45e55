// npm ksqldb-client: everything over cleartext HTTP/2; each body frame of a push query has to be one JSON value.
const { assert, port, run, until } = require('./steps');
const Client = require('ksqldb-client');

const client = new Client({ host: 'http://127.0.0.1', port });
const pushed = [];
let header;
let push;

async function execute(text, properties) {
  const { data, error } = await client.executeStatement(text, properties);
  assert.strictEqual(error, undefined, JSON.stringify(error));
  return data.rows[0];
}

run({
  connect: () => client.connect(),
  create: async () => {
    const made = await execute(
      "CREATE STREAM s (k VARCHAR KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    assert.strictEqual(made.commandStatus.status, 'SUCCESS');
  },
  list: async () => {
    assert.deepStrictEqual((await client.listStreams()).map((s) => s.name), ['S']);
    assert.deepStrictEqual(await client.listTables(), []);
    assert.deepStrictEqual((await client.listTopics()).map((t) => t.name), ['s']);
    assert.strictEqual((await client.describeSource('s')).fields.length, 2);
  },
  'create table as select': async () => {
    const made = await execute('CREATE TABLE c AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;',
      { streamsProperties: { 'ksql.streams.auto.offset.reset': 'earliest' } });
    assert.strictEqual(made.commandStatus.queryId, 'CTAS_C_1');
    assert.deepStrictEqual((await client.listQueries()).map((q) => q.id), ['CTAS_C_1']);
  },
  'push begins': () => new Promise((resolve) => {
    push = client.streamQuery('SELECT k, n FROM s EMIT CHANGES;', (data) => {
      assert.strictEqual(data.status, 200);
      header = data.metadata;
      if (data.rows) pushed.push(...data.rows);
      resolve();
    });
  }),
  insert: async () => {
    for (const n of [1, 2, 3]) {
      const { data, error } = await client.insertInto('s', { K: 'a', N: n });
      assert.strictEqual(error, undefined);
      assert.strictEqual(data.rows[0].status, 'ok');
    }
  },
  push: async () => {
    await until(() => pushed, (rows) => rows.length === 3);
    assert.deepStrictEqual(header.columnNames, ['K', 'N']);
    assert.deepStrictEqual(pushed.map((row) => row.N), [1, 2, 3]);
  },
  'push ends': async () => {
    assert.strictEqual((await client.terminatePushQuery(header.queryId)).error, undefined);
    assert.strictEqual((await push).status, 200);
  },
  pull: async () => {
    const pull = () => client.query("SELECT k, n FROM c WHERE k = 'a';");
    const { data } = await until(pull, ({ data }) => data && data.rows.length === 1 && data.rows[0].N === 3);
    assert.deepStrictEqual(data.rows, [{ K: 'a', N: 3 }]);
  },
  terminate: async () => {
    await execute('TERMINATE CTAS_C_1;');
    assert.deepStrictEqual(await client.listQueries(), []);
  },
  error: async () => {
    const bad = await client.executeStatement('CREATE NONSENSE;');
    assert.strictEqual(bad.status, 400);
    assert.strictEqual(bad.error.error_code, 40001);
    const missing = await client.query('SELECT * FROM missing;');
    assert.strictEqual(missing.error['@type'], 'statement_error');
    let told;
    const push = await client.streamQuery('SELECT * FROM missing EMIT CHANGES;', (data) => { told = data.status; });
    assert.strictEqual(told, 400);
    assert.strictEqual(push.error.error_code, 40001);
  },
  disconnect: () => client.disconnect(),
});
