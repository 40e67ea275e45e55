"""Confluent's own serializers, in Python: schemas.py write|write-headers|read BROKER REGISTRY PREFIX [FORMATS]

write:         three records to each of PREFIX-avro, PREFIX-protobuf and PREFIX-json, as the topic's schema says
write-headers: the same with the schemas' GUIDs in headers instead of ids in front of the payloads
read:          what Tidegate made of them from PREFIX-avro-out and so on, a line of JSON a record
"""
import json
import sys
import time

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PATIENCE_SECONDS = 60
CARS = [
    {"id": "a", "speed": 1.5, "n": 1, "ok": True, "tags": ["x", "y"]},
    {"id": "ü", "speed": -2.25, "n": 9007199254740993, "ok": False, "tags": []},
    {"id": "", "speed": 0.1, "n": -3, "ok": True, "tags": ["z"]},
]
AVRO = json.dumps({
    "type": "record", "name": "Car", "namespace": "t",
    "fields": [
        {"name": "id", "type": "string"}, {"name": "speed", "type": ["null", "double"], "default": None},
        {"name": "n", "type": "long"}, {"name": "ok", "type": "boolean"},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
    ],
})
JSON = json.dumps({
    "$schema": "http://json-schema.org/draft-07/schema#", "title": "Car", "type": "object",
    "properties": {
        "id": {"type": "string"}, "speed": {"type": "number"}, "n": {"type": "integer"},
        "ok": {"type": "boolean"}, "tags": {"type": "array", "items": {"type": "string"}},
    },
})


def message(package, name, fields):
    """The class of a message; (name, type, repeated) of its fields are numbered from 1."""
    file = descriptor_pb2.FileDescriptorProto(name=name.lower() + ".proto", package=package, syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    described = file.message_type.add(name=name)
    for number, (field, kind, repeated) in enumerate(fields, 1):
        label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
        described.field.add(name=field, number=number, type=getattr(kinds, "TYPE_" + kind), label=label)
    descriptor_pool.Default().Add(file)
    full = f"{package}.{name}" if package else name
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(full))


FIELDS = [("id", "STRING", False), ("speed", "DOUBLE", False), ("n", "INT64", False), ("ok", "BOOL", False), ("tags", "STRING", True)]


def write(broker, registry, prefix, conf={}):
    car = message("t", "Car", FIELDS)
    avro = [AvroSerializer(registry, text, conf=conf) for text in ('"string"', AVRO)]
    topics = {
        f"{prefix}-avro": (*avro, dict),
        f"{prefix}-protobuf": (None, ProtobufSerializer(car, registry, conf), lambda c: car(**c)),
        f"{prefix}-json": (None, JSONSerializer(JSON, registry, conf=conf), dict),
    }
    admin = AdminClient({"bootstrap.servers": broker})
    for topic, future in admin.create_topics([NewTopic(t, 1, 1) for t in topics]).items():
        try:
            future.result()
        except Exception as error:
            # A second client adds records of its own.
            if "exists" not in str(error):
                raise SystemExit(f"{topic}: {error}")
    producer = Producer({"bootstrap.servers": broker})
    for topic, (key, value, made) in topics.items():
        for c in CARS:
            headers = []
            context = lambda field: SerializationContext(topic, field, headers)
            k = key(c["id"], context(MessageField.KEY)) if key else c["id"].encode()
            v = value(made(c), context(MessageField.VALUE))
            producer.produce(topic, v, k, headers=headers)
    if producer.flush(PATIENCE_SECONDS):
        raise SystemExit("the records were not delivered")


def write_headers(broker, registry, prefix):
    write(broker, registry, prefix, {"schema.id.serializer": header_schema_id_serializer})


def read(broker, registry, prefix, formats):
    upper = message("", "ConnectDefault1", [(name.upper(), kind, repeated) for name, kind, repeated in FIELDS])
    readers = {
        "avro": AvroDeserializer(registry),
        # It reads by the class alone: with a client it would ask the registry for a descriptor in the place of a text, which
        # not every registry makes.
        "protobuf": ProtobufDeserializer(upper, {"use.deprecated.format": False}),
        "json": JSONDeserializer(None, schema_registry_client=registry),
    }
    topics = {f"{prefix}-{f}-out": readers[f] for f in formats.split(",")}
    key = AvroDeserializer(registry)
    consumer = Consumer({"bootstrap.servers": broker, "group.id": f"{prefix}-{time.time()}", "auto.offset.reset": "earliest"})
    consumer.subscribe(list(topics))
    got, end = 0, time.time() + PATIENCE_SECONDS
    while got < len(CARS) * len(topics):
        if time.time() > end:
            raise SystemExit(f"{got} records in {PATIENCE_SECONDS} s")
        record = consumer.poll(0.5)
        if record is None or record.error():
            continue
        topic = record.topic()
        value = topics[topic](record.value(), SerializationContext(topic, MessageField.VALUE))
        if "protobuf" in topic:
            fields = {f.name: getattr(value, f.name) for f in value.DESCRIPTOR.fields}
            value = {name: list(part) if name == "TAGS" else part for name, part in fields.items()}
        raw = record.key()
        k = key(raw, SerializationContext(topic, MessageField.KEY)) if "avro" in topic else raw.decode()
        print(json.dumps({"topic": topic[len(prefix) + 1:], "key": k, "value": value}, sort_keys=True, ensure_ascii=False))
        got += 1
    consumer.close()


if __name__ == "__main__":
    verb, broker, url, prefix = sys.argv[1:5]
    {"write": write, "write-headers": write_headers, "read": read}[verb](broker, SchemaRegistryClient({"url": url}), prefix, *sys.argv[5:])
