// npm ksqldb-rx-client: statements over HTTP/1.1, result sets over HTTP/2 as observables.
const { assert, url, run, until } = require('./steps');
const { KsqlDBClient } = require('ksqldb-rx-client');

const client = new KsqlDBClient(url);
const earliest = { 'ksql.streams.auto.offset.reset': 'earliest' };

function collect(body) {
  return new Promise((resolve, reject) => {
    const rows = [];
    client.queryStream(body).subscribe({ next: (row) => rows.push(row), error: reject, complete: () => resolve(rows) });
  });
}

run({
  info: async () => {
    assert.strictEqual((await client.getInfo()).KsqlServerInfo.serverStatus, 'RUNNING');
    assert.strictEqual((await client.getHealthcheck()).isHealthy, true);
  },
  create: async () => {
    const [made] = await client.statement(
      "CREATE STREAM s (k VARCHAR KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);");
    assert.strictEqual(made.commandStatus.status, 'SUCCESS');
  },
  list: async () => {
    assert.deepStrictEqual((await client.listStreams()).streams.map((s) => s.name), ['S']);
    assert.deepStrictEqual((await client.listTables()).tables, []);
    const extended = await client.listStreamsExtended();
    assert.strictEqual(extended['@type'], 'source_descriptions');
    assert.strictEqual(extended.sourceDescriptions[0].name, 'S');
    assert.strictEqual((await client.listTablesExtended()).sourceDescriptions.length, 0);
  },
  insert: async () => {
    assert.deepStrictEqual(await client.statement("INSERT INTO s VALUES ('a', 1); INSERT INTO s VALUES ('a', 2);"), []);
  },
  'create table as select': async () => {
    const [made] = await client.statement('CREATE TABLE c AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;',
      { streamsProperties: earliest });
    assert.strictEqual(made.commandStatus.queryId, 'CTAS_C_1');
  },
  push: async () => {
    const rows = await collect({ sql: 'SELECT k, n FROM s EMIT CHANGES LIMIT 2;', properties: earliest });
    assert.deepStrictEqual(rows, [{ K: 'a', N: 1 }, { K: 'a', N: 2 }]);
  },
  pull: async () => {
    await until(() => collect({ sql: "SELECT n FROM c WHERE k = 'a';" }), (rows) => rows.length === 1 && rows[0].N === 2);
  },
  terminate: async () => {
    const [ended] = await client.statement('TERMINATE CTAS_C_1;');
    assert.strictEqual(ended.commandStatus.status, 'SUCCESS');
  },
  error: async () => {
    const said = await client.statement('CREATE NONSENSE;');
    assert.strictEqual(said.error_code, 40001);
  },
  close: () => client.close(),
});
