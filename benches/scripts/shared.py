#!/usr/bin/env python3
"""Ten continuous queries on one topic beside one, with and without shared reading.

    benches/scripts/shared.py TIDEGATE [--live 1000000] [--rate 200000] [--behind 5000000] [--dir DIR]

Processor seconds, the least of two runs. Live: records that are written at a rate while the queries follow; what a server without
queries takes to write them is subtracted. Behind: from the start of a server until queries that had read nothing have read all.
"""
import argparse, os, shutil, subprocess
from time import sleep
from server import BIDS, Server

QUERIES = {
    "filter": "CREATE STREAM o{} AS SELECT auction, price FROM bids WHERE auction % 123 = 0;",
    "group": "CREATE TABLE o{} AS SELECT auction, COUNT(*) AS n, SUM(price) AS total FROM bids GROUP BY auction;",
}
SHARED = "tidegate.shared.reading.bytes"


def tool(options, data, *words):
    subprocess.run([options.tidegate, *words, "--data", data], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def serve(options, data, shared):
    return Server(options.tidegate, data, "ksql.streams.num.stream.threads=1", f"{SHARED}={shared}")


def until_read(server, records):
    server.until(lambda: server.metric("tidegate_query_records_in_total") >= records)


def create(options, data, sql, queries):
    shutil.rmtree(data, ignore_errors=True)
    os.makedirs(data, mode=0o700)
    tool(options, data, "topic", "create", "bids", "--partitions", "4")
    with serve(options, data, 0) as server:
        server.ksql(BIDS)
        for n in range(queries):
            server.ksql(sql.format(n))


def live(options, sql, queries, shared):
    data = os.path.join(options.dir, "live")
    create(options, data, sql, queries)
    with serve(options, data, shared) as server:
        sleep(2)
        before = server.processor_seconds()
        tool(options, data, "datagen", "bids", "-n", str(options.live), "--rate", str(options.rate))
        until_read(server, options.live * queries)
        return server.processor_seconds() - before


def behind(options, sql, queries, shared):
    data = os.path.join(options.dir, "behind")
    create(options, data, sql, queries)
    tool(options, data, "datagen", "bids", "-n", str(options.behind), "--rate", "100000000")
    with serve(options, data, shared) as server:
        until_read(server, options.behind * queries)
        return server.processor_seconds()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("tidegate")
    options.add_argument("--live", type=int, default=1_000_000)
    options.add_argument("--rate", type=int, default=200_000)
    options.add_argument("--behind", type=int, default=5_000_000)
    options.add_argument("--dir", default="shared-bench")
    options = options.parse_args()
    for name, sql in QUERIES.items():
        for measure in (live, behind):
            least = lambda queries, shared: min(measure(options, sql, queries, shared) for _ in range(2))
            floor = least(0, 0) if measure is live else 0
            one = least(1, 0) - floor
            for shared in (0, 16 * 1024 * 1024):
                ten = least(10, shared) - floor
                print(f"{name:6} {measure.__name__:6} {SHARED}={shared}: one query {one:.2f} s, ten {ten:.2f} s CPU;"
                      f" {ten / one:.1f} times one", flush=True)
    shutil.rmtree(options.dir)


main()
