"""PyPI ksql: everything over HTTP/1.1, its streaming requests with the whole URL as their target."""

import collections
import collections.abc
import json
import sys

# Where Python had them when hyper was written.
for name in ("Iterable", "Mapping", "MutableMapping", "MutableSet", "Sequence"):
    setattr(collections, name, getattr(collections.abc, name))

from ksql import KSQLAPI
from ksql.errors import KSQLError
from steps import run, until

client = KSQLAPI(f"http://127.0.0.1:{sys.argv[1]}")
EARLIEST = {"ksql.streams.auto.offset.reset": "earliest"}


def info():
    assert client.get_ksql_version()


def create():
    client.ksql("CREATE STREAM s (k VARCHAR KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);")
    assert client.create_stream(table_name="t", columns_type=["n INT"], topic="s", value_format="JSON")
    assert client.create_stream_as(
        table_name="u", select_columns=["k", "n"], src_table="s", kafka_topic="u", conditions="n > 1"
    )


def list_them():
    assert [s["name"] for s in client.ksql("LIST STREAMS;")[0]["streams"]] == ["S", "T", "U"]
    assert client.get_properties()


def insert():
    said = client.inserts_stream("s", [{"K": "a", "N": 1}, {"K": "a", "N": 2}])
    assert [s["status"] for s in said] == ["ok", "ok"], said


def create_table_as_select():
    made = client.ksql("CREATE TABLE c AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;", stream_properties=EARLIEST)
    assert made[0]["commandStatus"]["queryId"] == "CTAS_C_3", made


def lines(sql):
    """Its own `query` fails on every Python since 3.7 when the rows end (PEP 479); this way it reads over HTTP/1.1."""
    text = "".join(client.query(sql, stream_properties=EARLIEST, use_http2=True))
    return [json.loads(line) for line in text.splitlines() if line]


def push():
    header, *rows = lines("SELECT k, n FROM s EMIT CHANGES LIMIT 2;")
    assert header["columnNames"] == ["K", "N"], header
    assert rows == [["a", 1], ["a", 2]], rows


def legacy_push():
    # The older endpoint, read as far as the client can.
    parts = []
    try:
        for part in client.query("SELECT k, n FROM s EMIT CHANGES LIMIT 2", stream_properties=EARLIEST):
            parts.append(part)
    except RuntimeError as e:
        assert "StopIteration" in str(e), e
    text = "".join(str(p) for p in parts)
    assert "header" in text and "queryId" in text, text


def pull():
    until(lambda: lines("SELECT n FROM c WHERE k = 'a';"), lambda rows: len(rows) == 2 and rows[1] == [2])


def close():
    assert client.close_query("nosuch") is False


def terminate():
    for query in ("CTAS_C_3", "CSAS_U_2"):
        assert client.ksql(f"TERMINATE {query};")[0]["commandStatus"]["status"] == "SUCCESS"


def error():
    try:
        client.ksql("CREATE NONSENSE;")
    except KSQLError as e:
        assert "40001" in str(e), e
    else:
        raise AssertionError("it was taken")


run(info, create, list_them, insert, create_table_as_select, push, legacy_push, pull, close, terminate, error)
