#!/usr/bin/env python3
"""How long queries stand still when the process that runs them is killed, or stops by itself.

    benches/scripts/takeover.py TIDEGATE BOOTSTRAP [--rounds 10] [--signal KILL|TERM] [--queries 6] [--keys 1000] [--state 0] [--standbys 0]

Three processes of a service share the queries, half of which copy rows and half of which count them by key. A row is inserted every
20 ms through the third process, where push queries read what the queries write. A round ends one of the others, and starts it again when
all queries flow. The gap of a query is the longest time between two of its rows from just before the signal on; those of queries that
the process did not run are printed apart. With --state each counting query has so many more keys; with --standbys so many other processes
keep that state up to date.
"""
import argparse, json, os, random, signal, subprocess, sys, tempfile, threading, urllib.request
from time import monotonic, sleep

SLOTS = ["a", "b", "c"]


def post(port, path, body):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"content-type": "application/json"})
    return urllib.request.urlopen(request, timeout=60)


def ksql(port, text):
    earliest = {"ksql.streams.auto.offset.reset": "earliest"}
    return json.load(post(port, "/ksql", {"ksql": text, "streamsProperties": earliest}))


def lags(port):
    rows = post(port, "/query-stream", {"sql": "SELECT lag FROM system.queries WHERE persistent;", "properties": {}})
    return [line for line in rows if line.startswith(b"[")]


class Nodes:
    def __init__(self, options, folder):
        self.options, self.folder, self.service = options, folder, f"takeover{os.getpid()}_"
        self.processes, self.ports = {}, {slot: 19600 + random.randrange(300) * 3 + n for n, slot in enumerate(SLOTS)}

    def start(self, slot):
        log = open(os.path.join(self.folder, f"{slot}.log"), "a")
        words = ["--bootstrap-servers", self.options.bootstrap, "--service-id", self.service, "--set", f"tidegate.slot={slot}"]
        words += ["--set", f"ksql.streams.num.standby.replicas={self.options.standbys}"]
        listen = ["server", "--listen", f"127.0.0.1:{self.ports[slot]}"]
        self.processes[slot] = subprocess.Popen([self.options.tidegate, *words, *listen], stdout=log, stderr=log)
        while True:
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{self.ports[slot]}/readyz", timeout=5)
            except OSError:
                sleep(0.05)

    def end(self, slot, name):
        process = self.processes.pop(slot)
        process.send_signal(getattr(signal, f"SIG{name}"))
        return process

    def owned(self):
        status = json.load(urllib.request.urlopen(f"http://127.0.0.1:{self.ports['c']}/clusterStatus", timeout=30))
        hosts = status["clusterStatus"].values()
        runs = lambda host: {id for id, query in host["activeStandbyPerQuery"].items() if not query["standByStores"]}
        return {host["slot"]: runs(host) for host in hosts if host["hostAlive"]}

    def caught_up(self):
        """Whether each counting query has its standbys, and those lack at most what was written a moment ago."""
        shown = ksql(self.ports["c"], "SHOW QUERIES;")[0]["queries"]
        lags = [[standby["lag"] for standby in query.get("standbys", [])] for query in shown if query["queryString"].startswith("CREATE TABLE")]
        return all(len(lag) == self.options.standbys and all(n is not None and n < 1000 for n in lag) for lag in lags)


class Flow:
    """When rows of a query arrived."""

    def __init__(self, port, name):
        self.times = []
        self.response = post(port, "/query-stream", {"sql": f"SELECT * FROM {name} EMIT CHANGES;", "properties": {}})
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.response:
            if line.startswith(b"["):
                self.times.append(monotonic())

    def gap(self, begin, end):
        before = [time for time in self.times if time < begin][-1:]
        times = before + [time for time in self.times if begin <= time <= end] + [end]
        return max(later - earlier for earlier, later in zip(times, times[1:]))


def insert(port, stop, keys):
    n = 0
    while not stop.is_set():
        ksql(port, f"INSERT INTO s (k, n) VALUES ('k{n % keys}', {n});")
        n += 1
        sleep(0.02)


def fill(options, topic):
    """Keys that make the state large, written as another producer does."""
    words = [options.tidegate, "--bootstrap-servers", options.bootstrap, "topic", "produce", topic, "-k", ":"]
    produce = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    for n in range(options.state):
        produce.stdin.write(b'key number %d:{"N":%d}\n' % (n, n))
    produce.stdin.close()
    produce.wait()


def percentiles(gaps):
    gaps = sorted(gaps)
    at = lambda share: gaps[min(len(gaps) - 1, int(len(gaps) * share))]
    return f"n {len(gaps)}  p50 {at(0.5):.2f} s  p95 {at(0.95):.2f} s  max {gaps[-1]:.2f} s" if gaps else "none"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tidegate")
    parser.add_argument("bootstrap")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--signal", default="KILL", choices=["KILL", "TERM"])
    parser.add_argument("--queries", type=int, default=6)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--state", type=int, default=0)
    parser.add_argument("--standbys", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        nodes = Nodes(options, folder)
        for slot in SLOTS:
            nodes.start(slot)
        port = nodes.ports["c"]
        ksql(port, f"CREATE STREAM s (k STRING KEY, n BIGINT) WITH (KAFKA_TOPIC='s{os.getpid()}', VALUE_FORMAT='JSON', PARTITIONS=1);")
        ids = {}
        for n in range(options.queries):
            kind, rest = ("STREAM", "SELECT * FROM s") if n % 2 else ("TABLE", "SELECT k, COUNT(*) AS n FROM s GROUP BY k")
            status = ksql(port, f"CREATE {kind} q{n} AS {rest};")[0]["commandStatus"]
            ids[status["queryId"]] = f"q{n}"
        while sorted(map(len, nodes.owned().values())) != sorted(len(list(range(options.queries))[at::3]) for at in range(3)):
            sleep(0.1)
        fill(options, f"s{os.getpid()}")
        while not all(json.loads(line)[0] == 0 for line in lags(port)) or not nodes.caught_up():
            sleep(0.5)
        flows = {name: Flow(port, name) for name in ids.values()}
        stop = threading.Event()
        writer = threading.Thread(target=insert, args=(port, stop, options.keys))
        writer.start()
        sleep(3)
        moved, others = [], []
        for n in range(options.rounds):
            slot = "ab"[n % 2]
            owned = nodes.owned()[slot]
            begin = monotonic()
            process = nodes.end(slot, options.signal)
            sleep(8)
            end = monotonic()
            process.wait()
            for query, name in ids.items():
                (moved if query in owned else others).append(flows[name].gap(begin, end))
            print(f"round {n}: {slot} had {len(owned)}, longest gap {max(moved[-len(owned):], default=0):.2f} s", flush=True)
            nodes.start(slot)
            while len(nodes.owned().get(slot, ())) < options.queries // 3 or not nodes.caught_up():
                sleep(0.1)
            sleep(2)
        stop.set()
        writer.join()
        print(f"{options.signal}: moved {percentiles(moved)}; others {percentiles(others)}")
        for process in nodes.processes.values():
            process.terminate()
        for process in nodes.processes.values():
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
