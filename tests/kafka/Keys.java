// Writes keys with Kafka's own producer, which chooses their partitions: java Keys.java BOOTSTRAP TOPIC COUNT
import java.util.Properties;
import java.util.Random;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Keys {
    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        Random random = new Random(42);
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int i = 0; i < Integer.parseInt(args[2]); i++) {
                // All lengths modulo four, the empty key, all bytes.
                byte[] key = new byte[i % 41];
                random.nextBytes(key);
                producer.send(new ProducerRecord<>(args[1], key, new byte[0]));
            }
        }
    }
}
