"""PyPI ksqldb: statements over HTTP/1.1 (requests), result sets and inserts over HTTP/2 (httpx)."""

import asyncio
import sys

import requests
from ksqldb import KSQLdbClient
from steps import run, until

client = KSQLdbClient(f"http://127.0.0.1:{sys.argv[1]}")
EARLIEST = {"ksql.streams.auto.offset.reset": "earliest"}


def create():
    made = client.ksql(
        "CREATE STREAM s (k VARCHAR KEY, n INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);"
    )
    assert made[0]["commandStatus"]["status"] == "SUCCESS", made


def list_them():
    assert [s["name"] for s in client.ksql("LIST STREAMS;")[0]["streams"]] == ["S"]
    names = [p["name"] for p in client.get_properties()]
    assert "auto.offset.reset" in names, names


def insert():
    said = client.inserts_stream("s", [{"K": "a", "N": 1}, {"K": "a", "N": 2}])
    assert [s["status"] for s in said] == ["ok", "ok"], said


def create_table_as_select():
    made = client.ksql("CREATE TABLE c AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;", EARLIEST)
    assert made[0]["commandStatus"]["queryId"] == "CTAS_C_1", made


async def take(sql, count):
    rows = []
    async for row in client.query_async(sql, EARLIEST, timeout=30):
        rows.append(row)
        if len(rows) == count:
            break
    return rows


def push():
    header, *rows = asyncio.run(take("SELECT k, n FROM s EMIT CHANGES;", 3))
    assert header["columnNames"] == ["K", "N"], header
    assert rows == [["a", 1], ["a", 2]], rows
    # The client keeps its connection when the loop is left: only the server can end the query.
    assert client.close_query(header["queryId"])
    until(lambda: client.ksql("SHOW QUERIES;")[0]["queries"], lambda q: all(i["queryType"] != "PUSH" for i in q))


def pull():
    ask = lambda: client.query_sync("SELECT n FROM c WHERE k = 'a';")
    until(ask, lambda rows: len(rows) == 2 and rows[1] == [2])


def close():
    async def closed():
        stream = client.query_async("SELECT k FROM s EMIT CHANGES;", {}, timeout=30)
        header = await stream.__anext__()
        assert client.close_query(header["queryId"])
        return [row async for row in stream]

    assert asyncio.run(closed()) == []
    assert not client.close_query("nosuch")


def terminate():
    assert client.ksql("TERMINATE CTAS_C_1;")[0]["commandStatus"]["status"] == "SUCCESS"


def error():
    try:
        client.ksql("CREATE NONSENSE;")
    except requests.HTTPError as e:
        assert e.response.status_code == 400 and e.response.json()["error_code"] == 40001, e.response.text
    else:
        raise AssertionError("it was taken")


run(create, list_them, insert, create_table_as_select, push, pull, close, terminate, error)
