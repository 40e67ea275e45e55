// Reads topics with kafkajs, as TOPIC=RECORDS says how many, and prints of each record: topic, key in hexadecimal, value.
// node kafkajs.js BROKER TOPIC=RECORDS...
'use strict';
const { Kafka, logLevel } = require('kafkajs');

async function main() {
  const [broker, ...wanted] = process.argv.slice(2);
  const topics = new Map(wanted.map((word) => [word.split('=')[0], Number(word.split('=')[1])]));
  let left = [...topics.values()].reduce((a, b) => a + b, 0);
  const kafka = new Kafka({ clientId: 'tidegate-test', brokers: [broker], logLevel: logLevel.NOTHING });
  const consumer = kafka.consumer({ groupId: `kafkajs-${process.pid}-${Date.now()}` });
  await consumer.connect();
  await consumer.subscribe({ topics: [...topics.keys()], fromBeginning: true });
  await new Promise((done) => {
    consumer.run({
      eachMessage: async ({ topic, message }) => {
        const key = message.key === null ? 'null' : message.key.toString('hex');
        console.log(`${topic}\t${key}\t${message.value === null ? 'null' : message.value.toString()}`);
        left -= 1;
        if (left === 0) done();
      },
    });
  });
  await consumer.disconnect();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
