// Apicurio's serializers in the mode that is compatible with Confluent's, with Kafka's own clients:
// java Schemas.java write|read BROKER REGISTRY PREFIX [FORMATS], as schemas.py. They speak the interface of Apicurio's registry
// alone, and frame PROTOBUF in a way of their own: AVRO and JSON only.
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.apicurio.registry.serde.avro.AvroKafkaDeserializer;
import io.apicurio.registry.serde.avro.AvroKafkaSerializer;
import io.apicurio.registry.serde.jsonschema.JsonSchemaKafkaDeserializer;
import io.apicurio.registry.serde.jsonschema.JsonSchemaKafkaSerializer;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.GenericRecordBuilder;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;

public class Schemas {
    static final long PATIENCE_MS = 60_000;
    static final ObjectMapper JSON = new ObjectMapper();
    static final Schema AVRO = new Schema.Parser().parse("""
        {"type":"record","name":"Car","namespace":"t","fields":[{"name":"id","type":"string"},
         {"name":"speed","type":["null","double"],"default":null},{"name":"n","type":"long"},{"name":"ok","type":"boolean"},
         {"name":"tags","type":{"type":"array","items":"string"}}]}""");
    static final String JSON_SCHEMA = """
        {"title":"Car","type":"object","properties":{"id":{"type":"string"},"speed":{"type":"number"},"n":{"type":"integer"},
         "ok":{"type":"boolean"},"tags":{"type":"array","items":{"type":"string"}}}}""";

    record Car(String id, double speed, long n, boolean ok, List<String> tags) {}

    static final List<Car> CARS = List.of(
        new Car("a", 1.5, 1, true, List.of("x", "y")),
        new Car("ü", -2.25, 9_007_199_254_740_993L, false, List.of()),
        new Car("", 0.1, -3, true, List.of("z")));

    public static void main(String[] args) throws Exception {
        Map<String, Object> settings = new HashMap<>();
        settings.put("apicurio.registry.url", args[2].replace("/apis/ccompat/v7", "/apis/registry/v2"));
        settings.put("apicurio.registry.as-confluent", true);
        settings.put("apicurio.registry.use-id", "contentId");
        settings.put("apicurio.registry.headers.enabled", false);
        if (args[0].equals("write")) {
            write(args[1], args[2], args[3], settings);
        } else {
            read(args[1], args[3], List.of(args[4].split(",")), settings);
        }
    }

    static void write(String broker, String registry, String prefix, Map<String, Object> settings) throws Exception {
        ObjectNode body = JSON.createObjectNode().put("schemaType", "JSON").put("schema", JSON_SCHEMA);
        URI uri = URI.create(registry + "/subjects/" + prefix + "-json-value/versions");
        HttpRequest request = HttpRequest.newBuilder(uri).header("content-type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body.toString())).build();
        HttpResponse<String> response = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        if (response.statusCode() != 200) {
            throw new IllegalStateException(response.body());
        }
        var key = new AvroKafkaSerializer<String>();
        var avro = new AvroKafkaSerializer<GenericRecord>();
        var json = new JsonSchemaKafkaSerializer<Car>();
        Map<String, Object> registering = new HashMap<>(settings);
        registering.put("apicurio.registry.auto-register", true);
        key.configure(registering, true);
        avro.configure(registering, false);
        settings.put("apicurio.registry.find-latest", true);
        json.configure(settings, false);
        Properties properties = new Properties();
        properties.put("bootstrap.servers", broker);
        try (Admin admin = Admin.create(properties)) {
            List<NewTopic> topics = List.of("avro", "json").stream().map(f -> new NewTopic(prefix + "-" + f, 1, (short) 1)).toList();
            admin.createTopics(topics).all().get();
        }
        try (var producer = new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (Car car : CARS) {
                String topic = prefix + "-avro";
                GenericRecord built = new GenericRecordBuilder(AVRO).set("id", car.id).set("speed", car.speed)
                    .set("n", car.n).set("ok", car.ok).set("tags", car.tags).build();
                producer.send(new ProducerRecord<>(topic, key.serialize(topic, car.id), avro.serialize(topic, built))).get();
                topic = prefix + "-json";
                producer.send(new ProducerRecord<>(topic, car.id.getBytes("UTF-8"), json.serialize(topic, car))).get();
            }
        }
    }

    static void read(String broker, String prefix, List<String> formats, Map<String, Object> settings) throws Exception {
        var key = new AvroKafkaDeserializer<Object>();
        var avro = new AvroKafkaDeserializer<GenericRecord>();
        var json = new JsonSchemaKafkaDeserializer<JsonNode>();
        key.configure(settings, true);
        avro.configure(settings, false);
        settings.put("apicurio.registry.deserializer.value.return-class", JsonNode.class.getName());
        json.configure(settings, false);
        Properties properties = new Properties();
        properties.put("bootstrap.servers", broker);
        properties.put("auto.offset.reset", "earliest");
        properties.put("isolation.level", "read_committed");
        int wanted = CARS.size() * formats.size();
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        try (var consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            formats.forEach(format -> partitions.add(new TopicPartition(prefix + "-" + format + "-out", 0)));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            while (wanted > 0) {
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException(wanted + " records did not come");
                }
                for (var record : consumer.poll(Duration.ofMillis(500))) {
                    String topic = record.topic();
                    boolean isAvro = topic.endsWith("-avro-out");
                    Map<String, Object> line = new TreeMap<>();
                    line.put("topic", topic.substring(prefix.length() + 1));
                    line.put("key", isAvro ? key.deserialize(topic, record.key()).toString()
                        : new StringDeserializer().deserialize(topic, record.key()));
                    line.put("value", isAvro ? plain(avro.deserialize(topic, record.value()))
                        : JSON.convertValue(json.deserialize(topic, record.value()), TreeMap.class));
                    System.out.println(JSON.writeValueAsString(line));
                    wanted--;
                }
            }
        }
    }

    // A record as JSON has it, in the order of its names.
    static Map<String, Object> plain(GenericRecord record) {
        Map<String, Object> all = new TreeMap<>();
        for (Schema.Field field : record.getSchema().getFields()) {
            Object value = record.get(field.name());
            if (value instanceof List<?> list) {
                value = list.stream().map(String::valueOf).toList();
            }
            all.put(field.name(), value instanceof CharSequence ? value.toString() : value);
        }
        return all;
    }
}
