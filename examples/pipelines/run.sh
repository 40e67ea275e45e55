#!/usr/bin/env bash
# Runs a pipeline with real parts, shows what came out of it, and stops the parts again.
#
#   run.sh word_count    words counted by a Kafka Streams program and by SQL, over the same lines, with one result
#   run.sh file_join     two files through Kafka Connect, joined, and through Connect into a file
#   run.sh log_search    Filebeat, a topic a host, dead letters, OpenSearch through a connector that SQL creates
#
# Of the environment:
#   TIDEGATE   the program, if it is not on the PATH
#   BROKERS    brokers to use instead of one that is started for this: HOST:PORT
#   CONNECT    a worker of Kafka Connect to use in the same way: its URL (file_join)
#   KEEP       a folder for all files, which stays; otherwise they are temporary
#
# Java 17 and Maven are needed for Kafka's parts, and Go for Filebeat, which is built once (some minutes); everything is kept in
# ${XDG_CACHE_HOME:-~/.cache}/tidegate. Exit code 77: something of that is missing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
parts=$here/../../tests/kafka
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate
tidegate=${TIDEGATE:-tidegate}
beats=v7.17.29
WAIT_SECONDS_MAX=90

skip() { echo "run.sh: $1 is missing" >&2; exit 77; }
fail() { echo "run.sh: $1" >&2; tail -20 "$dir"/*.log >&2 || true; exit 1; }
need() { command -v "$1" > /dev/null || skip "$1"; }

# await WHAT COMMAND...: until the command succeeds
await() {
  local what=$1; shift
  for _ in $(seq $((WAIT_SECONDS_MAX * 4))); do "$@" > /dev/null 2>&1 && return 0; sleep 0.25; done
  fail "waited in vain for $what"
}

# start NAME COMMAND...: in the background, with NAME.log, stopped at the end
start() {
  local name=$1; shift
  "$@" > "$dir/$name.log" 2>&1 < /dev/null &
  children="$children $!"
}

end() {
  [ -z "${CONNECT:-}" ] || for name in JOIN_CUSTOMERS JOIN_ORDERS JOIN_SOLD; do curl -s -X DELETE "$CONNECT/connectors/$name" || true; done
  for child in $children; do kill "$child" 2> /dev/null || true; done
  for child in $children; do wait "$child" 2> /dev/null || true; done
  [ ! -d "$dir/worker" ] || "$parts/connect.sh" stop "$dir/worker" || true
  [ ! -d "$dir/broker" ] || "$parts/broker.sh" stop "$dir/broker" || true
  [ -n "${KEEP:-}" ] || rm -rf "$dir"
}

brokers() {
  need java
  [ -n "${BROKERS:-}" ] || { "$parts/broker.sh" start "$dir/broker" $$ > /dev/null; BROKERS=$(cat "$dir/broker/bootstrap"); }
}

# worker [PLUGIN_FOLDER]
worker() {
  [ -z "${CONNECT:-}" ] || { url=$CONNECT; return 0; }
  PLUGINS=${1:-} "$parts/connect.sh" start "$dir/worker" "$BROKERS" $$ > /dev/null
  url=$(cat "$dir/worker/url")
}

# sql STATEMENTS: their results as lines
sql() { "$tidegate" sql --bootstrap-servers "$BROKERS" --service-id "pipelines_reader_$$" -o csv -e "$1"; }

# pipeline FILE [DEFINE...]: runs the file's statements and keeps their queries running
pipeline() {
  local file=$1; shift
  for definition in "$@"; do echo "DEFINE $definition;"; done > "$dir/pipeline.sql"
  cat "$file" >> "$dir/pipeline.sql"
  start tidegate "$tidegate" run "$dir/pipeline.sql" --bootstrap-servers "$BROKERS" --service-id "pipelines_$$" \
    --set "ksql.connect.url=${url:-http://127.0.0.1:8083}"
}

word_count() {
  brokers
  pipeline "$here/../../queries/demo/word_count.sql"
  local table="(word VARCHAR PRIMARY KEY, total BIGINT) WITH (FORMAT = 'KAFKA', PARTITIONS = 1, KAFKA_TOPIC ="
  sql "CREATE TABLE streams_counts $table 'streams_counts');" > /dev/null
  await "the topic of the lines" sql "ASSERT TOPIC texts; ASSERT TOPIC word_counts;"
  start streams "$parts/broker.sh" java "$here/WordCount.java" "$BROKERS" texts streams_counts
  sql "CREATE TABLE sql_counts $table 'word_counts');" > /dev/null
  all_counted() {
    sql "SELECT word, total FROM sql_counts ORDER BY word;" > "$dir/sql.csv"
    sql "SELECT word, total FROM streams_counts ORDER BY word;" > "$dir/streams.csv"
    [ "$(wc -l < "$dir/sql.csv")" -eq 9 ] && cmp -s "$dir/sql.csv" "$dir/streams.csv"
  }
  await "the same counts" all_counted
  echo "by Kafka Streams and by SQL:"
  cat "$dir/streams.csv"
}

file_join() {
  need curl
  brokers
  worker
  printf '1,Ada\n2,Grace\n' > "$dir/customers.csv"
  : > "$dir/orders.csv"
  pipeline "$here/file_join.sql" "dir = '$dir'"
  customers_are_there() {
    sql "CREATE STREAM IF NOT EXISTS t (id INT KEY, name VARCHAR) WITH (KAFKA_TOPIC = 'join_customer_table', VALUE_FORMAT = 'DELIMITED');
         SELECT name FROM t;" | grep -q Grace
  }
  await "the customers" customers_are_there
  printf '2,book,12.5\n3,nobody ordered this,1\n1,lamp,30\n' >> "$dir/orders.csv"
  await "the joined orders" grep -q lamp "$dir/sold.csv"
  echo "sold.csv:"
  cat "$dir/sold.csv"
}

filebeat() {
  [ ! -x "$cache/filebeat-$beats" ] || return 0
  need go
  echo "building Filebeat $beats, once" >&2
  local source; source=$(go mod download -json "github.com/elastic/beats/v7@$beats" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  (cd "$source" && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$cache/filebeat-$beats.$$" ./filebeat)
  mv "$cache/filebeat-$beats.$$" "$cache/filebeat-$beats"
}

opensearch() {
  [ -d "$cache/opensearch-2.19.1/lib" ] || {
    need mvn
    mvn -q -B -ntp -f "$here/log_search/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$cache/opensearch.$$/lib" >&2
    mv -T "$cache/opensearch.$$" "$cache/opensearch-2.19.1"
  }
  local port=$((20000 + RANDOM % 12000))
  search=http://127.0.0.1:$port
  start opensearch java -Xms512m -Xmx512m -cp "$cache/opensearch-2.19.1/lib/*" "$here/log_search/OpenSearchMain.java" "$dir/search" "$port"
}

log_search() {
  need curl
  unset CONNECT # its plugin has to be in the worker
  filebeat
  brokers
  opensearch
  # The connector is compiled against Connect, and becomes a plugin.
  local jars="$cache/kafka-4.3.1/lib/*" plugin=$dir/plugins/search
  mkdir -p "$plugin/classes/META-INF/services"
  javac -d "$plugin/classes" -cp "$jars" "$here/log_search/SearchSink.java"
  echo tidegate.examples.SearchSink > "$plugin/classes/META-INF/services/org.apache.kafka.connect.sink.SinkConnector"
  jar cf "$plugin/search-sink.jar" -C "$plugin/classes" . && rm -r "$plugin/classes"
  worker "$dir/plugins"
  await OpenSearch curl -sf -m 2 "$search/_cluster/health?wait_for_status=yellow"
  pipeline "$here/log_search.sql" "search = '$search'"
  connector_runs() { curl -sf "$url/connectors/SEARCH/status" | grep -q '"tasks":\[{"id":0,"state":"RUNNING"'; }
  await "the connector" connector_runs
  cat > "$dir/app.log" << 'END'
{"host":"web-1","level":"INFO","text":"GET / 200"}
{"host":"db-1","level":"WARN","text":"slow query"}
Nov 21 10:00:00 web-1 kernel: out of memory
{"level":"INFO","text":"from nowhere"}
{"host":"web-1","level":"ERROR","text":"GET /cart 500"}
END
  sed "s#@DIR@#$dir#; s#@BROKERS@#$BROKERS#" "$here/log_search/filebeat.yml" > "$dir/filebeat.yml"
  start filebeat "$cache/filebeat-$beats" -e -c "$dir/filebeat.yml" --strict.perms=false --path.home "$dir" --path.data "$dir/filebeat"
  found() { curl -sf "$search/$1/_search?q=$2&sort=_doc&filter_path=hits.hits._source"; }
  all_found() {
    [ "$(curl -sf -XPOST "$search/search_*/_refresh" -o /dev/null; curl -sf "$search/search_*/_count" | sed 's/.*"count":\([0-9]*\).*/\1/')" -ge 5 ]
  }
  await "the documents" all_found
  for index in search_web_1 search_db_1 search_dead_letters; do echo "$index: $(found $index '*')"; done
}

[ $# -eq 1 ] || { sed -n '2,18p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//'; exit 2; }
children= url= search=
dir=${KEEP:-$(mktemp -d)}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
trap end EXIT
case $1 in
  word_count | file_join | log_search) "$1" ;;
  *) echo "run.sh: unknown pipeline $1" >&2; exit 2 ;;
esac
