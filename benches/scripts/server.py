"""A Tidegate server for the measurements beside this file."""
import json, re, resource, socket, subprocess, time, urllib.request

# What `tidegate datagen bids` writes.
BIDS = ("CREATE STREAM bids (auction BIGINT KEY, bidder BIGINT, price BIGINT, channel STRING, url STRING)"
        " WITH (KAFKA_TOPIC='bids', VALUE_FORMAT='JSON');")


class Server:
    """A server on a data directory; ends with its block. `seconds` since its start."""

    def __init__(self, tidegate, data, *settings):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        options = [word for setting in settings for word in ("--set", setting)]
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [tidegate, "server", "--data", data, "--listen", f"127.0.0.1:{self.port}", *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.until(self.is_up)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    @property
    def seconds(self):
        return time.monotonic() - self.begun

    def is_up(self):
        try:
            return self.get("/healthcheck")
        except OSError:
            return False

    def until(self, holds, patience=300):
        end = time.monotonic() + patience
        while not holds():
            if time.monotonic() > end or self.process.poll() is not None:
                raise SystemExit("the server does not get there")
            time.sleep(0.01)

    def get(self, path):
        return urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}").read().decode()

    def ksql(self, sql):
        body = json.dumps({"ksql": sql, "streamsProperties": {"auto.offset.reset": "earliest"}}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/ksql", body, {"content-type": "application/json"})
        return urllib.request.urlopen(request).read().decode()

    def metric(self, name):
        return sum(float(value) for value in re.findall(rf"^{name}\S* (\S+)$", self.get("/metrics"), re.M))

    def processor_seconds(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def resident_mib(self):
        return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{self.process.pid}/status").read()).group(1)) / 1024
