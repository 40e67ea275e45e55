// pgjdbc against a server: java -cp postgresql.jar Jdbc.java PORT. What Metabase, DBeaver and DataGrip do through it.

import java.sql.*;
import java.util.*;

public class Jdbc {
    static void check(boolean right, Object shown) {
        if (!right) throw new AssertionError(shown);
    }

    static List<String> names(ResultSet rows, String column) throws SQLException {
        List<String> names = new ArrayList<>();
        while (rows.next()) names.add(rows.getString(column));
        return names;
    }

    static Connection connect(String port) throws SQLException {
        String options = "?sslmode=disable&options=-c%20auto.offset.reset=earliest";
        return DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + port + "/any" + options, "me", "");
    }

    static void metadata(Connection db) throws SQLException {
        DatabaseMetaData meta = db.getMetaData();
        check(meta.getDatabaseProductName().equals("PostgreSQL") && meta.getDatabaseMajorVersion() == 15, meta.getDatabaseProductVersion());
        check(names(meta.getSchemas(), "TABLE_SCHEM").contains("public"), "schemas");
        check(names(meta.getCatalogs(), "TABLE_CAT").size() == 1, "catalogs");
        List<String> tables = names(meta.getTables(null, "public", "%", new String[] {"TABLE"}), "TABLE_NAME");
        check(tables.containsAll(List.of("all_types", "events", "counts", "totals")), tables);
        check(names(meta.getTables(null, null, "even%", null), "TABLE_NAME").equals(List.of("events")), "pattern");
        List<String> columns = names(meta.getColumns(null, "public", "events", "%"), "COLUMN_NAME");
        check(columns.equals(List.of("id", "n", "v")), columns);
        try (ResultSet column = meta.getColumns(null, null, "all_types", "n")) {
            check(column.next() && column.getInt("COLUMN_SIZE") == 12 && column.getInt("DECIMAL_DIGITS") == 3, "numeric");
        }
        check(names(meta.getPrimaryKeys(null, "public", "totals"), "COLUMN_NAME").equals(List.of("id")), "keys");
        meta.getIndexInfo(null, "public", "totals", false, false).close();
        check(names(meta.getImportedKeys(null, "public", "totals"), "FKTABLE_NAME").isEmpty(), "foreign keys");
        check(names(meta.getTypeInfo(), "TYPE_NAME").contains("int4"), "types");
        meta.getFunctions(null, "public", "uc%").close();
        try (ResultSet column = meta.getFunctionColumns(null, "public", "lpad", "%")) {
            StringBuilder types = new StringBuilder();
            while (column.next()) types.append(column.getString("TYPE_NAME")).append(' ');
            check(types.toString().equals("text text int4 text "), types);
        }
        meta.getProcedureColumns(null, "public", "%", "%").close();
        meta.getTableTypes().close();
        meta.getTablePrivileges(null, "public", "events").close();
        meta.getBestRowIdentifier(null, "public", "totals", DatabaseMetaData.bestRowSession, true).close();
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection db = connect(arguments[0]); Connection other = connect(arguments[0])) {
            metadata(db);

            // Types; prepared often enough that the driver asks for binary results.
            try (PreparedStatement statement = db.prepareStatement("SELECT b, i, l, d, n, s, ts, ai FROM all_types WHERE id = ? AND i < ?")) {
                for (int turn = 0; turn < 8; turn++) {
                    statement.setString(1, "one");
                    statement.setLong(2, 5);
                    ResultSet row = statement.executeQuery();
                    check(row.next() && row.getBoolean(1) && row.getInt(2) == -7 && row.getLong(3) == 9007199254740993L, "numbers");
                    check(row.getDouble(4) == 0.1 && row.getBigDecimal(5).toString().equals("-12.500"), row.getString(5));
                    check(row.getTimestamp(7).toInstant().toString().equals("2026-11-30T01:02:03.456Z"), row.getTimestamp(7));
                    check(((Integer[]) row.getArray(8).getArray())[1] == -2, row.getString(8));
                    check(!row.next(), "one row");
                }
            }
            try (PreparedStatement insert = db.prepareStatement("INSERT INTO events (id, n, v) VALUES (?, ?, ?)")) {
                for (int n = 0; n < 3; n++) {
                    insert.setString(1, "jdbc");
                    insert.setInt(2, n);
                    insert.setNull(3, Types.DOUBLE);
                    check(insert.executeUpdate() == 1, "inserted");
                }
            }

            // Errors.
            try (Statement statement = db.createStatement()) {
                statement.executeQuery("SELECT sped FROM events");
                check(false, "no error");
            } catch (SQLException error) {
                check(error.getSQLState().equals("42703"), error.getSQLState());
            }

            // Rows of a push query, one at a time; then it is cancelled.
            db.setAutoCommit(false);
            try (Statement statement = db.createStatement()) {
                statement.setFetchSize(1);
                ResultSet rows = statement.executeQuery("SELECT n FROM events WHERE id = 'jdbc' EMIT CHANGES");
                for (int n = 0; n < 3; n++) check(rows.next() && rows.getInt(1) == n, n);
                long begun = System.nanoTime();
                try (Statement insert = other.createStatement()) {
                    insert.executeUpdate("INSERT INTO events (id, n) VALUES ('jdbc', 3)");
                }
                check(rows.next() && rows.getInt(1) == 3, "pushed");
                check(System.nanoTime() - begun < 1_000_000_000L, "within a second");
            }
            db.rollback();
            db.setAutoCommit(true);
            try (Statement statement = db.createStatement()) {
                new Timer(true).schedule(new TimerTask() {
                    public void run() {
                        try {
                            statement.cancel();
                        } catch (SQLException ignored) {
                        }
                    }
                }, 500);
                statement.executeQuery("SELECT n FROM events WHERE id = 'jdbc' EMIT CHANGES");
                check(false, "not cancelled");
            } catch (SQLException error) {
                check("57014".equals(error.getSQLState()), error);
            }

            // COPY.
            var copy = db.unwrap(org.postgresql.PGConnection.class).getCopyAPI();
            check(copy.copyIn("COPY events FROM STDIN (FORMAT csv)", new java.io.StringReader("copied,7,1.5\n")) == 1, "in");
            var written = new java.io.StringWriter();
            copy.copyOut("COPY (SELECT id, n, v FROM events WHERE id = 'copied') TO STDOUT", written);
            check(written.toString().equals("copied\t7\t1.5\n"), written);
        }
        System.out.println("pgjdbc passed");
    }
}
