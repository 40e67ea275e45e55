// node-postgres, pg-cursor and pg-query-stream against a server: node_pg.js PORT.

const assert = require("assert");
const { Client, Query } = require("pg");
const Cursor = require("pg-cursor");
const QueryStream = require("pg-query-stream");

const connect = async () => {
  const client = new Client({ host: "127.0.0.1", port: Number(process.argv[2]), user: "me", database: "any" });
  await client.connect();
  await client.query("SET auto.offset.reset = 'earliest'");
  return client;
};

const main = async () => {
  const [db, other] = [await connect(), await connect()];
  const insert = (n) => other.query("INSERT INTO events (id, n) VALUES ($1, $2)", ["node", n]);

  // Types, parameters whose types are the server's, named statements.
  const all = await db.query("SELECT id, b, i, l, n, ai, st FROM all_types WHERE i = $1 AND b = $2", [-7, true]);
  assert.deepStrictEqual(all.rows, [
    { id: "one", b: true, i: -7, l: "9007199254740993", n: "-12.500", ai: [1, -2, null], st: { X: 5, Y: "yes" } },
  ]);
  for (let turn = 0; turn < 2; turn++) {
    const found = await db.query({ name: "by-id", text: "SELECT i FROM all_types WHERE id = $1", values: ["one"] });
    assert.strictEqual(found.rows[0].i, -7);
  }
  assert.strictEqual((await insert(0)).rowCount, 1);

  // Errors.
  await assert.rejects(db.query("SELECT id, sped FROM events"), (e) => e.code === "42703" && e.position === "12");
  await assert.rejects(db.query("SELECT id FROM events WHERE n = $1", ["x"]), (e) => e.code === "22P02");

  // Rows of a push query, one by one.
  const push = db.query(new Query("SELECT n FROM events WHERE id = 'node' EMIT CHANGES"));
  const rows = [];
  let came;
  push.on("row", (row) => { rows.push(row.n); came(); });
  const ended = new Promise((resolve) => push.on("error", resolve));
  for (let n = 0; n < 3; n++) {
    const next = new Promise((resolve) => { came = resolve; });
    const begun = Date.now();
    if (n > 0) await insert(n);
    await next;
    assert.ok(Date.now() - begun < 1000);
  }
  assert.deepStrictEqual(rows, [0, 1, 2]);

  // Cancelled from another connection.
  const cancel = new Client({ host: "127.0.0.1", port: Number(process.argv[2]) });
  cancel.cancel(db, push);
  assert.strictEqual((await ended).code, "57014");

  // Cursors and streams of portals.
  const cursor = db.query(new Cursor("SELECT n FROM events WHERE id = 'node' EMIT CHANGES"));
  assert.deepStrictEqual((await cursor.read(1)).map((row) => row.n), [0]);
  assert.deepStrictEqual((await cursor.read(2)).map((row) => row.n), [1, 2]);
  await cursor.close();
  const streamed = [];
  for await (const row of db.query(new QueryStream("SELECT n FROM events WHERE id = 'node'", [], { batchSize: 1 }))) {
    streamed.push(row.n);
  }
  assert.deepStrictEqual(streamed, [0, 1, 2]);
  await db.end();
  await other.end();
  console.log("node-postgres passed");
};

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
