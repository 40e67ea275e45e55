// npm ksqlient: statements and pull queries over HTTP/1.1 (axios), push queries and inserts over HTTP/2 without any header.
const { assert, url, run, until } = require('./steps');
// Its "main" has another case than its folder has.
const Client = require('ksqlient/ksqldb/ksqldb.js');

const client = new Client({ ksqldbURL: url });
const frames = [];
let id;

run({
  inspect: async () => {
    assert.strictEqual((await client.inspectServerInfo()).data.KsqlServerInfo.serverStatus, 'RUNNING');
    assert.strictEqual((await client.inspectServerHealth()).data.isHealthy, true);
    assert.strictEqual(Object.values((await client.inspectClusterStatus()).data.clusterStatus)[0].hostAlive, true);
    assert.strictEqual((await client.isValidProperty('auto.offset.reset')).data, true);
    await assert.rejects(client.isValidProperty('ksql.service.id'));
  },
  create: async () => {
    const made = await client.createStream('s', ['k VARCHAR KEY', 'n INT'], 's', 'json', 1);
    assert.strictEqual(made.data[0].commandStatus.status, 'SUCCESS');
    const status = await client.inspectQueryStatus(encodeURI(made.data[0].commandId));
    assert.strictEqual(status.data.status, 'SUCCESS');
  },
  list: async () => assert.strictEqual((await client.ksql('LIST STREAMS;')).streams[0].name, 'S'),
  'create stream as select': async () => {
    assert.strictEqual(await client.createStreamAs('d', ['k', 'n * 2 AS n'], 's', { kafka_topic: 'd' }, 'n > 1'), 'CSAS_D_1');
  },
  'create table as select': async () => {
    const made = await client.createTableAs('c', 's', ['k', 'COUNT(*) AS n'], { topic: 'c' }, { GROUP_BY: 'k' });
    assert.strictEqual(made.data[0].commandStatus.queryId, 'CTAS_C_2');
  },
  'push begins': async () => {
    id = await client.push('SELECT k, n FROM d EMIT CHANGES;', (frame) => frames.push(JSON.parse(frame)));
    assert.match(id, /^transient_/);
  },
  insert: async () => {
    const said = await client.insertStream('s', [{ K: 'a', N: 1 }, { K: 'a', N: 2 }, { K: 'a', N: 3 }]);
    assert.deepStrictEqual(said.map((s) => s.status), ['ok', 'ok', 'ok']);
  },
  push: async () => {
    await until(() => frames, (all) => all.length === 3);
    assert.deepStrictEqual(frames.slice(1), [['a', 4], ['a', 6]]);
  },
  pull: async () => {
    const all = await until(() => client.pull("SELECT k, n FROM c WHERE k = 'a';"), (all) => all[1] && all[1][1] === 3);
    assert.deepStrictEqual(all[0].columnNames, ['K', 'N']);
    const some = await client.pullFromTo('s', 'Europe/Berlin', ['2000-01-01', '00', '00', '00']);
    assert.strictEqual(some.length, 3);
  },
  'terminate a push query': async () => {
    assert.strictEqual((await client.ksql('SHOW QUERIES;')).queries.filter((q) => q.queryType === 'PUSH').length, 1);
    assert.strictEqual((await client.terminate(id)).wasTerminated, true);
    await until(() => client.ksql('SHOW QUERIES;'), ({ queries }) => queries.every((q) => q.queryType !== 'PUSH'));
  },
  terminate: async () => {
    for (const id of ['CTAS_C_2', 'CSAS_D_1']) {
      assert.strictEqual((await client.terminate(id)).commandStatus.status, 'SUCCESS');
    }
  },
  error: async () => {
    await assert.rejects(client.ksql('CREATE NONSENSE;'), /line 1|NONSENSE/);
    await assert.rejects(client.pull('SELECT * FROM missing;'), /MISSING/);
  },
});
