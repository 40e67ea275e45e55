#!/usr/bin/env python3
"""The restart of a grouping: seconds until a new record is in the result, from the changelog alone and from a snapshot.

    benches/scripts/restart.py TIDEGATE [--keys 1000000] [--dir DIR]

Two records per key are counted and summed. RSS is that of the server when the first result leaves.
"""
import argparse, os, random, shutil, subprocess
from server import Server

STATEMENTS = ("CREATE STREAM s (id STRING, v BIGINT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);"
              " CREATE TABLE t AS SELECT id, COUNT(*) AS n, SUM(v) AS total FROM s GROUP BY id;")
SNAPSHOTS = "tidegate.state.snapshot.bytes="


def prepare(options):
    """A log with the query, and its changelog without a snapshot."""
    data = os.path.join(options.dir, "log")
    shutil.rmtree(data, ignore_errors=True)
    with Server(options.tidegate, data, SNAPSHOTS + "0") as server:
        server.ksql(STATEMENTS)
    dice = random.Random(7)
    lines = "".join(f'{{"ID":"customer-{dice.randrange(options.keys)}","V":{n % 100}}}\n' for n in range(2 * options.keys))
    subprocess.run([options.tidegate, "topic", "produce", "s", "--data", data], input=lines.encode(), check=True)
    with Server(options.tidegate, data, SNAPSHOTS + "0") as server:
        server.until(lambda: server.metric("tidegate_query_records_in_total") >= 2 * options.keys)
        rows = server.metric("tidegate_query_records_out_total")
        server.until(lambda: server.metric("tidegate_query_records_out_total") == rows > 0)
    return data


def restart(options, data, setting):
    with Server(options.tidegate, data, setting) as server:
        up = server.seconds
        server.ksql("INSERT INTO s (id, v) VALUES ('customer-5', 1);")
        server.until(lambda: server.metric("tidegate_query_records_out_total") > 0)
        return up, server.seconds, server.resident_mib()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("tidegate")
    options.add_argument("--keys", type=int, default=1_000_000)
    options.add_argument("--dir", default="restart-bench")
    options = options.parse_args()
    data = prepare(options)
    for _ in range(3):
        report("changelog", restart(options, data, SNAPSHOTS + "0"))
    snapshots = os.path.join(data, "snapshots")
    with Server(options.tidegate, data, SNAPSHOTS + "1") as server:
        server.until(lambda: any(f.endswith(".snapshot") for _, _, files in os.walk(snapshots) for f in files))
    for _ in range(3):
        report("snapshot ", restart(options, data, SNAPSHOTS + "100000000"))


def report(source, measured):
    up, row, rss = measured
    print(f"{source}: up after {up:.2f} s, first row after {row:.2f} s, RSS {rss:.0f} MiB", flush=True)


main()
