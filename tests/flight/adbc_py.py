"""ADBC and pandas against servers: adbc_py.py PORT PORT-WITH-USERS PORT-WITH-TLS TOKEN."""

import datetime as dt
import faulthandler
import signal
import sys
import threading
import time
from decimal import Decimal

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import pandas
import pyarrow
from adbc_driver_flightsql import ConnectionOptions, DatabaseOptions

# What was waited for when the time is up.
faulthandler.register(signal.SIGQUIT, all_threads=True)

port, users_port, tls_port, token = sys.argv[1:]
HEADER = DatabaseOptions.RPC_CALL_HEADER_PREFIX.value
EARLIEST = {HEADER + "auto.offset.reset": "earliest"}


def connect(**options):
    return flightsql.connect(f"grpc://127.0.0.1:{port}", db_kwargs=EARLIEST | options, autocommit=True)


db = connect()
cursor = db.cursor()

# Every type, as Arrow has it.
cursor.execute("SELECT * FROM all_types")
assert [column[0] for column in cursor.description] == "ID B I L D N S Y DT T TS AI AT M ST".split()
table = cursor.fetch_arrow_table()
rows = {row["ID"]: row for row in table.to_pylist()}
one = rows["one"]
assert (one["B"], one["I"], one["L"], one["D"], one["N"]) == (True, -7, 9007199254740993, 0.1, Decimal("-12.500"))
assert one["S"] == "it's 차 \"q\", \\ tab\tend", one["S"]
assert one["Y"] == b"\x00\xff\x7e"
assert (one["DT"], one["T"]) == (dt.date(2026, 11, 30), dt.time(12, 34, 56))
assert one["TS"] == dt.datetime(2026, 11, 30, 1, 2, 3, 456000), one["TS"]
assert (one["AI"], one["AT"]) == ([1, -2, None], ["a b", "", "null", 'x"y,{z}\\'])
assert (dict(one["M"]), one["ST"]) == ({"k": 1, "l": 2}, {"X": 5, "Y": "yes"}), (one["M"], one["ST"])
assert {value for name, value in rows["empty"].items() if name != "ID"} == {None}
frame = pandas.read_sql("SELECT id, l FROM all_types WHERE l IS NOT NULL", db)
assert list(frame["L"]) == [9007199254740993], frame

# Statements without rows are carried out by execute() itself.
cursor.execute("CREATE STREAM made (id STRING KEY, n INTEGER, x DOUBLE) WITH (KAFKA_TOPIC = 'made', VALUE_FORMAT = 'JSON', PARTITIONS = 1)")
cursor.execute("SHOW STREAMS")
assert "MADE" in str(cursor.fetchall())

# Parameters.
cursor.execute("INSERT INTO made VALUES (?, ?, ?)", ("a'; DROP", 1, 1.5))
cursor.execute("INSERT INTO made VALUES (?, ?, ?)", ("nulls", None, None))
cursor.executemany("INSERT INTO made VALUES (?, ?, ?)", [("b", 2, None), ("c", 3, 2.5)])
cursor.execute("SELECT id, n, x FROM made WHERE id = ?", ("a'; DROP",))
assert cursor.fetchall() == [("a'; DROP", 1, 1.5)]
cursor.execute("SELECT id FROM all_types WHERE i = $1 AND ts > $2 AND b = $3 AND y = $4", (-7, dt.datetime(2026, 1, 1), True, b"\x00\xff\x7e"))
assert cursor.fetchall() == [("one",)]

# An error has its place and a hint; the connection stays.
try:
    cursor.execute("SELECT id,\n '차', sped FROM events")
    raise SystemExit("no error")
except flightsql.ProgrammingError as error:
    assert "'SPED' cannot be resolved" in str(error) and "at line 2, column 7" in str(error), error
try:
    cursor.execute("CREATE STREAM made (id STRING KEY) WITH (KAFKA_TOPIC = 'x', VALUE_FORMAT = 'JSON', PARTITIONS = 1)")
    raise SystemExit("no error")
except flightsql.Error as error:
    assert "already exists" in str(error), error

# Rows in bulk.
data = pyarrow.table({"id": ["p", "q"], "n": [7, None], "v": [0.5, 1.5]})
assert cursor.adbc_ingest("events", data, mode="append") == 2
frame = pandas.DataFrame({"id": ["f"], "when": [pandas.Timestamp("2026-11-30 01:02:03")], "amount": [1.25]})
assert cursor.adbc_ingest("frames", pyarrow.Table.from_pandas(frame), mode="create") == 1
cursor.execute("SELECT * FROM frames")
assert cursor.fetchall() == [("f", dt.datetime(2026, 11, 30, 1, 2, 3), 1.25)]
try:
    cursor.adbc_ingest("events", pyarrow.table({"nothing": [1]}), mode="append")
    raise SystemExit("no error")
except flightsql.Error as error:
    assert "its columns are" in str(error), error

# The catalogue.
assert db.adbc_get_info()["vendor_name"] == "Tidegate", db.adbc_get_info()
assert db.adbc_get_table_types() == ["STREAM", "TABLE"]
schema = db.adbc_get_table_schema("ALL_TYPES")
assert schema.field("N").type == pyarrow.decimal128(12, 3), schema
objects = db.adbc_get_objects(depth="columns").read_all().to_pylist()
tables = {t["table_name"]: t for s in objects[0]["catalog_db_schemas"] for t in s["db_schema_tables"]}
assert tables["EVENTS"]["table_type"] == "STREAM" and tables["TOTALS"]["table_type"] == "TABLE"
assert [column["column_name"] for column in tables["EVENTS"]["table_columns"]] == ["ID", "N", "V"]

# Rows of a push query come one by one, each within a second.
push = connect().cursor()
push.execute("SELECT n FROM events WHERE id = 'push' EMIT CHANGES")
times = []
for number in range(4):
    begun = time.monotonic()
    cursor.execute("INSERT INTO events (id, n) VALUES ('push', ?)", (number,))
    assert push.fetchone() == (number,)
    times.append(time.monotonic() - begun)
# One that is late may have met a busy machine; rows that wait for a full batch are late each time.
assert min(times[1:]) < 1.0, times

# Cancel ends it, on the server, too.
begun = time.monotonic()
threading.Timer(0.2, push.adbc_cancel).start()
try:
    push.fetchone()
    raise SystemExit("no error")
except flightsql.Error as error:
    assert "ancel" in str(error), error
assert time.monotonic() - begun < 5
until = time.monotonic() + 20
while "EMIT CHANGES" in (cursor.execute("SHOW QUERIES"), str([row for row in cursor.fetchall() if "PUSH" in str(row)]))[1]:
    assert time.monotonic() < until, "the query continues"
    time.sleep(0.05)


# Users: a password is sent once, for a token; over TLS as well.
def version(uri, options):
    with flightsql.connect(uri, db_kwargs=options, autocommit=True) as db:
        with db.cursor() as cursor:
            cursor.execute("SHOW STREAMS")
            return cursor.fetchall()


password = {"username": "alice", "password": "secret 1"}
bearer = {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {token}"}
trusting = {DatabaseOptions.TLS_SKIP_VERIFY.value: "true"}
for credentials in (password, bearer):
    assert version(f"grpc://127.0.0.1:{users_port}", credentials) is not None
    assert version(f"grpc+tls://127.0.0.1:{tls_port}", credentials | trusting) is not None
for credentials in ({}, password | {"password": "wrong"}, {DatabaseOptions.AUTHORIZATION_HEADER.value: "Bearer nonsense"}):
    try:
        version(f"grpc://127.0.0.1:{users_port}", credentials)
        raise SystemExit("let in")
    except flightsql.Error as error:
        assert "UNAUTHENTICATED" in str(error) or "Unauthenticated" in str(error) or "Unauthorized" in str(error), error
try:
    with flightsql.connect(f"grpc://127.0.0.1:{users_port}", db_kwargs=bearer, autocommit=True) as reader:
        reader.cursor().execute("CREATE TYPE x AS INTEGER")
    raise SystemExit("let in")
except flightsql.Error as error:
    assert "requires role writer" in str(error), error
print("adbc passed")
