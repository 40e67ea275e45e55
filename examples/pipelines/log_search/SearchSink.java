package tidegate.examples;

import java.net.URI;
import java.net.http.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.errors.*;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.sink.*;

/**
 * Sink to Elasticsearch or OpenSearch over the _bulk API: one topic is one index, the record key is the document id
 * (topic+partition+offset where there is none or it is empty), a null value deletes. An example: use the connector of your search server's vendor in production.
 */
public class SearchSink extends SinkConnector {
    static final ConfigDef CONFIG = new ConfigDef().define("connection.url", ConfigDef.Type.STRING, ConfigDef.Importance.HIGH, "server");
    private Map<String, String> props;
    public void start(Map<String, String> p) { props = p; }
    public void stop() { }
    public String version() { return "1"; }
    public ConfigDef config() { return CONFIG; }
    public Class<? extends Task> taskClass() { return SearchTask.class; }
    public List<Map<String, String>> taskConfigs(int n) { return Collections.nCopies(n, props); }

    public static class SearchTask extends SinkTask {
        private final HttpClient http = HttpClient.newHttpClient();
        private final JsonConverter json = new JsonConverter();
        private String url;
        public String version() { return "1"; }
        public void start(Map<String, String> p) {
            url = p.get("connection.url");
            json.configure(Map.of("schemas.enable", "false", "decimal.format", "NUMERIC"), false);
        }
        public void stop() { }
        public void put(Collection<SinkRecord> records) {
            if (records.isEmpty()) return;
            StringBuilder body = new StringBuilder();
            for (SinkRecord r : records) {
                String index = r.topic().toLowerCase(Locale.ROOT);
                boolean keyless = r.key() == null || "".equals(r.key());
                String id = keyless ? r.topic() + "+" + r.kafkaPartition() + "+" + r.kafkaOffset() : text(r.topic(), r.keySchema(), r.key());
                String meta = "{\"_index\":" + quote(index) + ",\"_id\":" + quote(id) + "}";
                if (r.value() == null) body.append("{\"delete\":").append(meta).append("}\n");
                else body.append("{\"index\":").append(meta).append("}\n").append(text(r.topic(), r.valueSchema(), r.value())).append('\n');
            }
            try {
                HttpResponse<String> a = http.send(HttpRequest.newBuilder(URI.create(url + "/_bulk")).header("Content-Type", "application/x-ndjson")
                    .POST(HttpRequest.BodyPublishers.ofString(body.toString())).build(), HttpResponse.BodyHandlers.ofString());
                if (a.statusCode() == 429 || a.statusCode() >= 500) throw new RetriableException("search server: " + a.statusCode());
                if (a.statusCode() != 200 || a.body().contains("\"errors\":true")) throw new ConnectException("search server: " + a.body());
            } catch (java.io.IOException e) { throw new RetriableException(e);
            } catch (InterruptedException e) { throw new ConnectException(e); }
        }
        private String text(String topic, org.apache.kafka.connect.data.Schema s, Object v) {
            return v instanceof String str ? str : new String(json.fromConnectData(topic, s, v), StandardCharsets.UTF_8);
        }
        private static String quote(String s) { return "\"" + s.replace("\\", "\\\\").replace("\"", "\\\"") + "\""; }
    }
}
