// What the scripts share: steps that print their name, with a deadline each; plain requests for what a client cannot do.
const assert = require('assert');
const port = Number(process.argv[2]);
const url = `http://127.0.0.1:${port}`;
const PATIENCE_MS = 30000;

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing after ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Runs the steps, an object of functions, in order; the process ends with 0 or with the first failure.
async function run(steps) {
  process.on('uncaughtException', (e) => fail('outside of a step', e));
  for (const [name, step] of Object.entries(steps)) {
    try {
      await within(Promise.resolve().then(step), name);
    } catch (e) {
      fail(name, e);
    }
    console.log(`ok ${name}`);
  }
  process.exit(0);
}

function fail(name, e) {
  console.log(`FAILED ${name}: ${e.stack || JSON.stringify(e)}`);
  process.exit(1);
}

// Statements without a client.
async function ksql(text) {
  const answer = await fetch(`${url}/ksql`, { method: 'POST', body: JSON.stringify({ ksql: text }) });
  const body = await answer.json();
  assert.strictEqual(answer.status, 200, JSON.stringify(body));
  return body;
}

// Asks until the answer passes: a continuous query needs its moment.
async function until(ask, passes) {
  for (;;) {
    const answer = await ask();
    if (passes(answer)) return answer;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

module.exports = { assert, port, url, run, within, ksql, until };
