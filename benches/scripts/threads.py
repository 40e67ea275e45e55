#!/usr/bin/env python3
"""Continuous queries with one thread and with more: records of four partitions of an embedded log, read from the first one.

    benches/scripts/threads.py TIDEGATE [--rows 4000000] [--threads 1 2] [--dir DIR]

Wall and processor seconds from CREATE until the last record is read, the best of five, one number of threads after the other. The
last line of a query is the floor: two servers with a copy of the records each, at once; no query can scale better on the machine.
"""
import argparse, os, shutil, subprocess
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from server import BIDS, Server

QUERIES = {
    "q0": "CREATE STREAM o AS SELECT * FROM bids;",
    "q2": "CREATE STREAM o AS SELECT auction, price FROM bids WHERE auction % 123 = 0;",
    "group": "CREATE TABLE o AS SELECT auction, COUNT(*) AS n, SUM(price) AS total FROM bids GROUP BY auction;",
    "tumble": "CREATE TABLE o AS SELECT bidder, COUNT(*) AS n FROM bids WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY bidder;",
}


def measure(options, sql, threads, copy="run"):
    data = os.path.join(options.dir, copy)
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(os.path.join(options.dir, "records"), data)
    with Server(options.tidegate, data, f"ksql.streams.num.stream.threads={threads}") as server:
        server.ksql(BIDS)
        begun, before = monotonic(), server.processor_seconds()
        server.ksql(sql)
        server.until(lambda: server.metric("tidegate_query_records_in_total") >= options.rows)
        result = monotonic() - begun, server.processor_seconds() - before
    shutil.rmtree(data)
    return result


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("tidegate")
    options.add_argument("--rows", type=int, default=4_000_000)
    options.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options.add_argument("--dir", default="threads-bench")
    options = options.parse_args()
    records = os.path.join(options.dir, "records")
    if not os.path.exists(records):
        subprocess.run([options.tidegate, "topic", "create", "bids", "--partitions", "4", "--data", records], check=True)
        subprocess.run([options.tidegate, "datagen", "bids", "--data", records, "-n", str(options.rows), "--rate", "100000000"], check=True)
    for name, sql in QUERIES.items():
        runs = {}
        for _ in range(5):
            for threads in options.threads:
                runs.setdefault(threads, []).append(measure(options, sql, threads))
        best = {threads: (min(r[0] for r in rs), min(r[1] for r in rs)) for threads, rs in runs.items()}
        alone = best[options.threads[0]]
        for threads, (wall, cpu) in best.items():
            print(f"{name:7} {threads} threads: {wall:.2f} s wall, {cpu:.2f} s CPU; {alone[0] / wall:.2f} times as fast,"
                  f" {cpu / alone[1]:.2f} times the CPU", flush=True)
        with ThreadPoolExecutor(2) as both:
            pairs = [list(both.map(lambda copy: measure(options, sql, 1, copy), ["a", "b"])) for _ in range(3)]
        wall = min(max(run[0] for run in pair) for pair in pairs)
        print(f"{name:7} two servers: {wall:.2f} s wall; {2 * alone[0] / wall:.2f} times as fast", flush=True)


main()
