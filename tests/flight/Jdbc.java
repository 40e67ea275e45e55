// The Flight SQL JDBC driver against servers: java -cp flight-sql-jdbc-driver.jar Jdbc.java PORT PORT-WITH-USERS PORT-WITH-TLS TOKEN

import java.sql.*;
import java.util.*;

public class Jdbc {
    static void check(boolean right, Object shown) {
        if (!right) throw new AssertionError(shown);
    }

    static List<String> names(ResultSet rows, String column) throws SQLException {
        List<String> names = new ArrayList<>();
        while (rows.next()) names.add(rows.getString(column));
        rows.close();
        return names;
    }

    static Connection connect(String port, String options) throws SQLException {
        return DriverManager.getConnection("jdbc:arrow-flight-sql://127.0.0.1:" + port + "/?" + options);
    }

    static void metadata(Connection db) throws SQLException {
        DatabaseMetaData meta = db.getMetaData();
        check(meta.getDatabaseProductName().equals("Tidegate"), meta.getDatabaseProductName());
        check(names(meta.getSchemas(), "TABLE_SCHEM").equals(List.of("public")), "schemas");
        check(names(meta.getCatalogs(), "TABLE_CAT").size() == 1, "catalogs");
        List<String> tables = names(meta.getTables(null, null, "%", null), "TABLE_NAME");
        check(tables.containsAll(List.of("ALL_TYPES", "EVENTS", "COUNTS", "TOTALS")), tables);
        check(names(meta.getTables(null, null, "EVEN%", null), "TABLE_NAME").equals(List.of("EVENTS")), "pattern");
        check(names(meta.getTableTypes(), "TABLE_TYPE").equals(List.of("STREAM", "TABLE")), "table types");
        List<String> columns = names(meta.getColumns(null, null, "EVENTS", "%"), "COLUMN_NAME");
        check(columns.equals(List.of("ID", "N", "V")), columns);
        try (ResultSet column = meta.getColumns(null, null, "ALL_TYPES", "N")) {
            check(column.next() && column.getInt("DECIMAL_DIGITS") == 3, "decimal");
        }
        check(names(meta.getPrimaryKeys(null, null, "TOTALS"), "COLUMN_NAME").equals(List.of("ID")), "keys");
        check(names(meta.getImportedKeys(null, null, "TOTALS"), "FKTABLE_NAME").isEmpty(), "foreign keys");
    }

    public static void main(String[] arguments) throws Exception {
        String plain = "useEncryption=false&auto.offset.reset=earliest";
        try (Connection db = connect(arguments[0], plain); Connection other = connect(arguments[0], plain)) {
            metadata(db);

            // Types, and parameters.
            try (PreparedStatement statement = db.prepareStatement("SELECT b, i, l, d, n, s, ts, ai FROM all_types WHERE id = ? AND i < ?")) {
                statement.setString(1, "one");
                statement.setInt(2, 5);
                try (ResultSet row = statement.executeQuery()) {
                    check(row.next() && row.getBoolean(1) && row.getInt(2) == -7 && row.getLong(3) == 9007199254740993L, "numbers");
                    check(row.getDouble(4) == 0.1 && row.getBigDecimal(5).toString().equals("-12.500"), row.getString(5));
                    check(row.getString(6).equals("it's 차 \"q\", \\ tab\tend"), row.getString(6));
                    check(row.getTimestamp(7, Calendar.getInstance(TimeZone.getTimeZone("UTC"))).toInstant().toString().equals("2026-11-30T01:02:03.456Z"), row.getTimestamp(7));
                    check(((Object[]) row.getArray(8).getArray())[1].equals(-2), row.getString(8));
                    check(!row.next(), "one row");
                }
            }
            try (Statement statement = db.createStatement()) {
                statement.executeUpdate("CREATE STREAM jdbc_made (id STRING KEY, n INTEGER, v DOUBLE, x DECIMAL(6, 2)) WITH (KAFKA_TOPIC = 'jdbc_made', VALUE_FORMAT = 'JSON', PARTITIONS = 1)");
            }
            try (PreparedStatement insert = db.prepareStatement("INSERT INTO jdbc_made (id, n, v, x) VALUES (?, ?, ?, ?)")) {
                for (int n = 0; n < 3; n++) {
                    insert.setString(1, "jdbc");
                    insert.setInt(2, n);
                    insert.setDouble(3, n / 2.0);
                    insert.setBigDecimal(4, new java.math.BigDecimal("1.5000000000"));
                    check(insert.executeUpdate() == 1, "inserted");
                }
            }
            try (Statement statement = db.createStatement(); ResultSet rows = statement.executeQuery("SELECT SUM(n) AS total, MAX(x) AS most FROM jdbc_made")) {
                check(rows.next() && rows.getInt(1) == 3 && rows.getBigDecimal(2).toString().equals("1.50"), "sum");
            }

            // Errors.
            try (Statement statement = db.createStatement()) {
                statement.executeQuery("SELECT sped FROM events");
                check(false, "no error");
            } catch (SQLException error) {
                check(error.getMessage().contains("'SPED' cannot be resolved") && error.getMessage().contains("at line 1, column 8"), error.getMessage());
            }

            // Rows of a push query, one at a time; then it is cancelled. The driver waits for a row in executeQuery.
            try (Statement statement = db.createStatement(); Statement insert = other.createStatement()) {
                insert.executeUpdate("INSERT INTO events (id, n) VALUES ('jdbc', 0)");
                ResultSet rows = statement.executeQuery("SELECT n FROM events WHERE id = 'jdbc' EMIT CHANGES");
                check(rows.next() && rows.getInt(1) == 0, "the first row");
                // One that is late may have met a busy machine; rows that wait for a full batch are late each time.
                long fastest = Long.MAX_VALUE;
                for (int n = 1; n <= 3; n++) {
                    long begun = System.nanoTime();
                    insert.executeUpdate("INSERT INTO events (id, n) VALUES ('jdbc', " + n + ")");
                    check(rows.next() && rows.getInt(1) == n, n);
                    fastest = Math.min(fastest, System.nanoTime() - begun);
                }
                check(fastest < 1_000_000_000L, "ns until a row: " + fastest);
                new Timer(true).schedule(new TimerTask() {
                    public void run() {
                        try {
                            statement.cancel();
                        } catch (SQLException ignored) {
                        }
                    }
                }, 300);
                long begun = System.nanoTime();
                try {
                    check(!rows.next(), "a row");
                } catch (SQLException | RuntimeException cancelled) {
                    check(cancelled.toString().toLowerCase().contains("cancel"), cancelled);
                }
                check(System.nanoTime() - begun < 5_000_000_000L, "cancelled in time");
                rows.close();
            }
        }

        // Users: a password or a token, with and without TLS.
        for (String how : List.of(arguments[1] + " useEncryption=false", arguments[2] + " useEncryption=true&disableCertificateVerification=true")) {
            String[] parts = how.split(" ");
            for (String who : List.of("&user=alice&password=secret%201", "&token=" + arguments[3])) {
                try (Connection db = connect(parts[0], parts[1] + who); Statement statement = db.createStatement(); ResultSet rows = statement.executeQuery("SHOW STREAMS")) {
                    check(rows.getMetaData().getColumnCount() > 1, who);
                }
            }
        }
        try (Connection db = connect(arguments[1], "useEncryption=false&user=alice&password=wrong"); Statement statement = db.createStatement()) {
            statement.executeQuery("SHOW STREAMS");
            check(false, "let in");
        } catch (SQLException error) {
            check(error.toString().contains("UNAUTHENTICATED") || error.toString().contains("Unauthorized"), error);
        }
        System.out.println("flight-sql-jdbc passed");
    }
}
