import org.codelibs.opensearch.runner.OpenSearchRunner;

/** One real OpenSearch node with HTTP on loopback. Usage: java -cp 'lib/*' OpenSearchMain.java DATA_FOLDER HTTP_PORT */
public class OpenSearchMain {
    public static void main(String[] args) throws Exception {
        OpenSearchRunner runner = new OpenSearchRunner();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> { try { runner.close(); } catch (Exception e) { } }));
        runner.onBuild((n, settings) -> {
            settings.put("http.port", args[1]);
            settings.put("transport.port", Integer.toString(Integer.parseInt(args[1]) + 100));
            settings.put("network.host", "127.0.0.1");
            settings.put("discovery.type", "single-node");
            settings.put("cluster.routing.allocation.disk.threshold_enabled", "false");
        }).build(OpenSearchRunner.newConfigs().clusterName("tidegate-example").basePath(args[0]).numOfNode(1));
        runner.ensureYellow();
        System.out.println("ready on " + args[1]);
        Thread.currentThread().join();
    }
}
