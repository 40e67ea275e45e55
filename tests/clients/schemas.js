// Confluent's own serializers, in JavaScript, with KafkaJS: schemas.js write|read BROKER REGISTRY PREFIX [FORMATS], as
// schemas.py.
"use strict";
const { Kafka, logLevel } = require("kafkajs");
const registry = require("@confluentinc/schemaregistry");
const { create, createFileRegistry, createMutableRegistry } = require("@bufbuild/protobuf");
const { FieldDescriptorProto_Label: Label, FieldDescriptorProto_Type: Type, FileDescriptorProtoSchema } =
  require("@bufbuild/protobuf/wkt");

const PATIENCE_MS = 60000;
// Numbers beyond 2^53 are not this language's.
const CARS = [
  { id: "a", speed: 1.5, n: 1, ok: true, tags: ["x", "y"] },
  { id: "ü", speed: -2.25, n: 70000000000, ok: false, tags: [] },
  { id: "", speed: 0.1, n: -3, ok: true, tags: ["z"] },
];
const AVRO = JSON.stringify({
  type: "record", name: "Car", namespace: "t", fields: [
    { name: "id", type: "string" }, { name: "speed", type: ["null", "double"], default: null },
    { name: "n", type: "long" }, { name: "ok", type: "boolean" },
    { name: "tags", type: { type: "array", items: "string" } },
  ],
});
const JSON_SCHEMA = JSON.stringify({
  title: "Car", type: "object", properties: {
    id: { type: "string" }, speed: { type: "number" }, n: { type: "integer" },
    ok: { type: "boolean" }, tags: { type: "array", items: { type: "string" } },
  },
});
const PROTOBUF = create(FileDescriptorProtoSchema, {
  name: "car.proto", package: "t", syntax: "proto3",
  messageType: [{
    name: "Car",
    field: [["id", Type.STRING], ["speed", Type.DOUBLE], ["n", Type.INT64], ["ok", Type.BOOL], ["tags", Type.STRING]]
      .map(([name, type], n) => ({ name, type, number: n + 1, jsonName: name, label: name === "tags" ? Label.REPEATED : Label.OPTIONAL })),
  }],
});

const { KEY, VALUE } = { KEY: registry.SerdeType.KEY, VALUE: registry.SerdeType.VALUE };

async function register(client, subject, schemaType, schema) {
  await client.register(subject, { schemaType, schema }, false);
}

async function write(kafka, client, prefix) {
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ topics: ["avro", "protobuf", "json"].map((f) => ({ topic: `${prefix}-${f}`, numPartitions: 1 })) });
  await admin.disconnect();
  await register(client, `${prefix}-avro-key`, "AVRO", '"string"');
  await register(client, `${prefix}-avro-value`, "AVRO", AVRO);
  await register(client, `${prefix}-json-value`, "JSON", JSON_SCHEMA);
  const latest = { useLatestVersion: true };
  const avroKey = new registry.AvroSerializer(client, KEY, latest);
  const avro = new registry.AvroSerializer(client, VALUE, latest);
  const json = new registry.JsonSerializer(client, VALUE, latest);
  const file = createFileRegistry(PROTOBUF, () => undefined);
  const message = file.getMessage("t.Car");
  const protobuf = new registry.ProtobufSerializer(client, VALUE, { autoRegisterSchemas: true, registry: createMutableRegistry(file) });
  const producer = kafka.producer();
  await producer.connect();
  for (const car of CARS) {
    const send = (format, key, value) => producer.send({ topic: `${prefix}-${format}`, messages: [{ key, value }] });
    await send("avro", await avroKey.serialize(`${prefix}-avro`, car.id), await avro.serialize(`${prefix}-avro`, car));
    const built = create(message, { ...car, n: BigInt(car.n) });
    await send("protobuf", car.id, await protobuf.serialize(`${prefix}-protobuf`, built));
    await send("json", car.id, await json.serialize(`${prefix}-json`, car));
  }
  await producer.disconnect();
}

// What a record's value is, in the order of its names; whole numbers of 64 bits are an object of their own here.
function plain(value) {
  const part = (v) => (typeof v === "bigint" || (v !== null && typeof v === "object" && "toNumber" in v) ? Number(v) : v);
  return Object.fromEntries(Object.keys(value).filter((name) => !name.startsWith("$")).sort().map((name) => [name, part(value[name])]));
}

async function read(kafka, client, prefix, formats) {
  const all = {
    avro: () => new registry.AvroDeserializer(client, VALUE, {}),
    protobuf: () => new registry.ProtobufDeserializer(client, VALUE, {}),
    json: () => new registry.JsonDeserializer(client, VALUE, {}),
  };
  const readers = Object.fromEntries(formats.split(",").map((f) => [`${prefix}-${f}-out`, all[f]()]));
  const key = new registry.AvroDeserializer(client, KEY, {});
  const topics = Object.keys(readers);
  const consumer = kafka.consumer({ groupId: `${prefix}-${Date.now()}` });
  await consumer.connect();
  await consumer.subscribe({ topics, fromBeginning: true });
  let got = 0;
  await new Promise((done, failed) => {
    setTimeout(() => failed(new Error(`${got} records in ${PATIENCE_MS} ms`)), PATIENCE_MS).unref();
    const eachMessage = async ({ topic, message }) => {
      try {
        const k = topic.includes("avro") ? await key.deserialize(topic, message.key) : message.key.toString();
        const value = plain(await readers[topic].deserialize(topic, message.value));
        console.log(JSON.stringify({ key: k, topic: topic.slice(prefix.length + 1), value }));
        got += 1;
        if (got === CARS.length * topics.length) done();
      } catch (error) {
        failed(new Error(`${topic}: ${error.stack}`));
      }
    };
    consumer.run({ eachMessage }).catch(failed);
  });
  await consumer.disconnect();
}

const [verb, broker, url, prefix, formats] = process.argv.slice(2);
const kafka = new Kafka({ brokers: [broker], logLevel: logLevel.NOTHING });
const client = registry.SchemaRegistryClient.newClient({ baseURLs: [url] });
({ write, read })[verb](kafka, client, prefix, formats).then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
