"""psycopg 3 against a server: psycopg_py.py PORT."""

import datetime as dt
import sys
import threading
import time
from decimal import Decimal

import psycopg

dsn = f"host=127.0.0.1 port={sys.argv[1]} user=me dbname=any sslmode=disable"
db = psycopg.connect(dsn, autocommit=True)
db.execute("SET auto.offset.reset = 'earliest'")

# Every type is the same value in text and in binary.
rows = {}
for binary in (False, True):
    cursor = db.cursor(binary=binary)
    cursor.execute("SELECT * FROM all_types")
    rows[binary] = {row[0]: row for row in cursor.fetchall()}
    names = [column.name for column in cursor.description]
assert names == "id b i l d n s y dt t ts ai at m st".split(), names
assert rows[False] == rows[True], rows
one = dict(zip(names, rows[True]["one"]))
assert (one["b"], one["i"], one["l"], one["d"], one["n"]) == (True, -7, 9007199254740993, 0.1, Decimal("-12.500"))
assert one["s"] == "it's 차 \"q\", \\ tab\tend", one["s"]
assert one["y"] == b"\x00\xff\x7e"
assert (one["dt"], one["t"]) == (dt.date(2026, 11, 30), dt.time(12, 34, 56))
assert one["ts"] == dt.datetime(2026, 11, 30, 1, 2, 3, 456000, dt.timezone.utc)
assert (one["ai"], one["at"]) == ([1, -2, None], ["a b", "", "null", 'x"y,{z}\\'])
assert (one["m"], one["st"]) == ({"k": 1, "l": 2}, {"X": 5, "Y": "yes"})
assert set(rows[True]["empty"][1:]) == {None}

# Parameters, prepared or not, and in INSERT.
for prepare in (False, True):
    found = db.execute("SELECT id, i FROM all_types WHERE i = %s AND s LIKE %s AND b = %s", (-7, "it's%", True), prepare=prepare)
    assert found.fetchall() == [("one", -7)]
    assert db.execute("SELECT id FROM all_types WHERE d < %s LIMIT %s", (1.5, 1), prepare=prepare).fetchall() == [("one",)]
    assert db.execute("SELECT id FROM all_types WHERE ts > %s", (dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc),), prepare=prepare).fetchall() == [("one",)]
done = db.execute("INSERT INTO events (id, n, v) VALUES (%s, %s, %s)", ("a'; DROP", 1, 1.5))
assert done.rowcount == 1
assert db.execute("SELECT id, n, v FROM events").fetchall() == [("a'; DROP", 1, 1.5)]

# Several rows at once, and statements that are prepared by words.
done = db.execute("INSERT INTO events (id, n, v) VALUES (%s, 1, %s), ('many', 2, NULL), ('many', 3, 0.5)", ("many", 1.5))
assert done.rowcount == 3, done.rowcount
db.execute("PREPARE several (text, int) AS SELECT n, v FROM events WHERE id = $1 AND n >= $2")
assert sorted(db.execute("EXECUTE several ('many', 1 + 1)").fetchall()) == [(2, None), (3, 0.5)]
db.execute("PREPARE put AS INSERT INTO events (id, n) VALUES ($1, $2)")
assert db.execute("EXECUTE put ('it''s', -4)").rowcount == 1
assert db.execute("SELECT n FROM events WHERE id = %s", ("it's",)).fetchall() == [(-4,)]
db.execute("DEALLOCATE several")
for text, state in [
    ("EXECUTE several ('many', 1)", "26000"),
    ("EXECUTE put (1)", "42601"),
    ("EXECUTE put ('x', 'y')", "22P02"),
    ("PREPARE p (nothing) AS SELECT 1", "42704"),
    ("PREPARE put AS SELECT 1", "42P05"),
    ("PREPARE p AS SELECT sped FROM events", "42703"),
    ("LISTEN events", "0A000"),
    ("NOTIFY events", "0A000"),
]:
    try:
        db.execute(text)
        raise SystemExit(f"no error: {text}")
    except psycopg.Error as error:
        assert error.sqlstate == state, (text, error.sqlstate, str(error))
db.execute("UNLISTEN *")

# An error has its state, its place and a hint; the connection stays.
try:
    db.execute("SELECT id,\n '차', sped FROM events")
    raise SystemExit("no error")
except psycopg.Error as error:
    assert error.sqlstate == "42703", (error.sqlstate, str(error))
    assert error.diag.statement_position == "18", error.diag.statement_position
try:
    db.execute("SELECT nothing FROM no_such")
    raise SystemExit("no error")
except psycopg.errors.UndefinedTable:
    pass
try:
    db.execute("SELEC 1")
    raise SystemExit("no error")
except psycopg.errors.SyntaxError:
    pass

# Rows of a push query come one by one, each within a second.
other = psycopg.connect(dsn, autocommit=True)


def insert(number):
    other.execute("INSERT INTO events (id, n) VALUES ('push', %s)", (number,))


stream = db.cursor().stream("SELECT n FROM events WHERE id = 'push' EMIT CHANGES")
for number in range(3):
    begun = time.monotonic()
    insert(number)
    assert next(stream) == (number,)
    assert time.monotonic() - begun < 1.0, time.monotonic() - begun

# Cancel ends it.
threading.Timer(0.2, db.cancel_safe).start()
begun = time.monotonic()
try:
    next(stream)
    raise SystemExit("not cancelled")
except psycopg.errors.QueryCanceled:
    assert time.monotonic() - begun < 1.0

# A cursor gives what it has.
db.autocommit = False
with db.cursor() as cursor:
    cursor.execute("DECLARE c CURSOR FOR SELECT n FROM events WHERE id = 'push' EMIT CHANGES")
    assert cursor.execute("FETCH 2 FROM c").fetchall() == [(0,), (1,)]
    begun = time.monotonic()
    assert cursor.execute("FETCH 100 c WITH (timeout = '300ms')").fetchall() == [(2,)]
    assert 0.2 < time.monotonic() - begun < 1.0
    insert(3)
    assert cursor.execute("FETCH ALL c").fetchall() == [(3,)]
    cursor.execute("CLOSE c")
db.commit()
with db.cursor("named") as cursor:
    cursor.itersize = 1
    cursor.execute("SELECT n FROM events WHERE id = 'push'")
    assert [row[0] for row in cursor] == [0, 1, 2, 3]
db.rollback()
db.autocommit = True

# COPY in both directions.
with db.cursor() as cursor:
    with cursor.copy("COPY events (id, n, v) FROM STDIN") as copy:
        for number in range(1000):
            copy.write_row((f"copy\t{number}", number, number / 2))
    assert cursor.rowcount == 1000
    with cursor.copy("COPY (SELECT id, n, v FROM events WHERE v >= 498.5) TO STDOUT") as copy:
        assert sorted(copy.rows()) == [("copy\t997", "997", "498.5"), ("copy\t998", "998", "499"), ("copy\t999", "999", "499.5")]
    with cursor.copy("COPY (SELECT n, v, id FROM events WHERE n = 999) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["int4", "float8", "text"])
        assert list(copy.rows()) == [(999, 499.5, "copy\t999")]
    with cursor.copy("COPY events (id, n, v) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["text", "int4", "float8"])
        for number in range(600):
            copy.write_row((f"binary\t{number}", number, None if number else 0.5))
    assert cursor.rowcount == 600
    assert cursor.execute("SELECT n, v FROM events WHERE id = 'binary\t0'").fetchall() == [(0, 0.5)]
    try:
        with cursor.copy("COPY events (id, n) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["text", "int8"])
            copy.write_row(("x", 1))
        raise SystemExit("an int8 was taken for an INTEGER")
    except psycopg.Error as error:
        assert error.sqlstate == "22P04" and "row 1" in error.diag.message_detail, (error.sqlstate, str(error))
    with cursor.copy("COPY events FROM STDIN (FORMAT csv, HEADER)") as copy:
        copy.write('id,n,v\n"c,sv",5,\n')
    assert cursor.execute("SELECT n, v FROM events WHERE id = 'c,sv'").fetchall() == [(5, None)]
    try:
        with cursor.copy("COPY events FROM STDIN") as copy:
            copy.write("x\ty\tz\n")
        raise SystemExit("no error")
    except psycopg.errors.BadCopyFileFormat as error:
        assert "row 1" in error.diag.message_detail, error.diag.message_detail

# SUBSCRIBE shows deletions.
other.execute("INSERT INTO totals VALUES ('t', 5)")
subscription = db.cursor().stream("SUBSCRIBE TO totals")
time_of, operation, key, amount = next(subscription)
assert isinstance(time_of, dt.datetime) and (operation, key, amount) == ("upsert", "t", 5)
threading.Timer(0.1, db.cancel_safe).start()
try:
    next(subscription)
    raise SystemExit("not cancelled")
except psycopg.errors.QueryCanceled:
    pass

# Pipelines: an error skips to the next synchronisation.
piped = psycopg.connect(dsn, autocommit=True)
with piped.pipeline() as pipeline:
    first = piped.execute("SELECT n FROM events WHERE id = 'c,sv'")
    pipeline.sync()
    assert first.fetchall() == [(5,)]

# Statements of the language are rows, or notices.
notices = []
db.add_notice_handler(lambda notice: notices.append(notice.message_primary))
made = db.execute("CREATE STREAM made AS SELECT * FROM events WHERE n > 3 EMIT CHANGES")
assert made.statusmessage == "CREATE STREAM" and "MADE" in notices[0].upper() or "Created" in notices[0], (made.statusmessage, notices)
streams = db.execute("SHOW STREAMS")
assert "EVENTS" in [row[0] for row in streams] and streams.description[0].name == "name"
assert ("AMOUNT", "BIGINT") in [row[:2] for row in db.execute("DESCRIBE totals").fetchall()]
assert db.execute("SHOW server_version").fetchone()[0].startswith("15.0")
print("psycopg passed")
