#!/usr/bin/env python3
"""SQL over retained history beside DuckDB: the same JSON records on the embedded log and in a file, eight queries.

    benches/scripts/history.py TIDEGATE [--rows 10000000] [--dir DIR]

Needs the Python package duckdb. Wall and processor seconds are those of a whole process less its start, the best of three. Both read
files that are in the page cache. Results are compared by their first rows, which are printed if they differ.
"""
import argparse, os, random, resource, subprocess, sys, time

COLUMNS = {"AUCTION": "BIGINT", "BIDDER": "BIGINT", "PRICE": "BIGINT", "CHANNEL": "VARCHAR", "TS": "BIGINT", "EXTRA": "VARCHAR"}
# Name, the query, and DuckDB's words where they differ.
QUERIES = [
    ("filter", "SELECT auction, price FROM bids WHERE bidder = 77 AND price > 90000000 ORDER BY price, auction LIMIT 20", None),
    ("group (4 keys)", "SELECT channel, COUNT(*) AS c, SUM(price) AS s, MAX(price) AS m FROM bids GROUP BY channel ORDER BY channel", None),
    ("top-N", "SELECT auction, bidder, price FROM bids ORDER BY price DESC, auction LIMIT 10", None),
    ("join", "SELECT c.category AS category, COUNT(*) AS c, SUM(b.price) AS s FROM bids b JOIN (SELECT DISTINCT auction AS a,"
     " auction % 20 AS category FROM bids WHERE ts < 1700000500000) c ON b.auction = c.a GROUP BY c.category ORDER BY category", None),
    ("COUNT(DISTINCT) x 2", "SELECT COUNT(DISTINCT bidder) AS b, COUNT(DISTINCT auction) AS a FROM bids", None),
    ("tumbling", "SELECT channel, WINDOWSTART AS w, COUNT(*) AS c FROM bids WINDOW TUMBLING (SIZE 1000 SECONDS) GROUP BY channel"
     " ORDER BY w, channel LIMIT 8",
     "SELECT channel, ts - ts % 1000000 AS w, COUNT(*) AS c FROM bids GROUP BY 1, 2 ORDER BY w, channel LIMIT 8"),
    ("LAG, 100,000 partitions", "SELECT COUNT(*) AS c, SUM(d) AS s FROM"
     " (SELECT price - LAG(price) OVER (PARTITION BY auction ORDER BY ts) AS d FROM bids)", None),
    ("MAX, 100,000 keys", "WITH m AS (SELECT auction, MAX(price) AS p FROM bids GROUP BY auction) SELECT COUNT(*) AS c, SUM(p) AS s FROM m", None),
]


def generate(path, rows):
    dice = random.Random(7).random
    channels = ["Apple", "Baidu", "Facebook", "Google"]
    with open(path, "w") as out:
        for n in range(rows):
            out.write(f'{{"AUCTION":{int(dice() * 100000)},"BIDDER":{int(dice() * 10000)},"PRICE":{int(dice() ** 3 * 100000000)},'
                      f'"CHANNEL":"{channels[int(dice() * 4)]}","TS":{1700000000000 + n},"EXTRA":"{"x" * (80 + n % 60)}"}}\n')


def run(command):
    """Wall and processor seconds of a process, and what it prints."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{command}: {done.stderr}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def best(command):
    runs = [run(command) for _ in range(3)]
    return min(r[0] for r in runs), min(r[1] for r in runs), runs[-1][2]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("tidegate")
    options.add_argument("--rows", type=int, default=10_000_000)
    options.add_argument("--dir", default="history-bench")
    options = options.parse_args()
    records, data = os.path.join(options.dir, "bids.json"), os.path.join(options.dir, "data")
    os.makedirs(options.dir, exist_ok=True)
    if not os.path.exists(records):
        generate(records, options.rows)
    ours = [options.tidegate, "--data", data, "--no-init"]
    if not os.path.exists(data):
        run([*ours, "-c", "CREATE STREAM bids (auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, ts BIGINT, extra STRING)"
                          " WITH (KAFKA_TOPIC='bids', VALUE_FORMAT='JSON', TIMESTAMP='ts', PARTITIONS=1);"])
        with open(records) as lines:
            subprocess.run([options.tidegate, "topic", "produce", "bids", "--data", data], stdin=lines, check=True)
    view = f"CREATE VIEW bids AS SELECT * FROM read_json('{records}', format='newline_delimited', columns={COLUMNS})"

    def theirs(sql):
        return [sys.executable, "-c", f"import duckdb, csv, sys\nc = duckdb.connect()\nc.execute('SET enable_progress_bar = false')\nc.execute({view!r})\n"
                                      f"csv.writer(sys.stdout).writerows(c.execute({sql!r}).fetchall())"]

    start, other = best([*ours, "-c", "SHOW STREAMS;"]), best([sys.executable, "-c", "import duckdb, csv"])
    print("| | Tidegate wall, CPU | DuckDB wall, CPU | ratio wall, CPU |\n|---|---|---|---|")
    for name, sql, words in QUERIES:
        a, b = best([*ours, "-o", "csv", "-c", sql + ";"]), best(theirs(words or sql))
        (aw, ac), (bw, bc) = [(r[0] - s[0], r[1] - s[1]) for r, s in [(a, start), (b, other)]]
        print(f"| {name} | {aw:.2f}, {ac:.2f} | {bw:.2f}, {bc:.2f} | {aw / bw:.2f}, {ac / bc:.2f} |", flush=True)
        mine, duck = a[2].splitlines()[1:], b[2].splitlines()
        if mine[:len(duck)] != duck:
            print(f"  different: {mine[:3]} and {duck[:3]}", file=sys.stderr)


main()
