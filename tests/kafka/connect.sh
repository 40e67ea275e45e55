#!/usr/bin/env bash
# A real worker of Kafka Connect for tests, on a free loopback port, with the file source and the file sink.
#
#   connect.sh start DIR BOOTSTRAP [PID]  starts it over these brokers and waits until it is ready; DIR/url then holds its URL.
#                                         With PID it stops by itself when that process has ended.
#   connect.sh stop DIR                   stops it; DIR stays
#
# Plugins of PLUGINS (folders, with commas between them) are there as well. The jars come from Maven Central and are kept in
# ${XDG_CACHE_HOME:-~/.cache}/tidegate. Exit code 77: Java or Maven is missing, so tests are to be skipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) what="Connect worker"
source "$here/service.sh"
version=4.3.1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/kafka-$version
START_SECONDS_MAX=90 # a start takes 4 s on a quiet machine
PORT_TRIES_MAX=5     # another process may take a port between our look and the worker's bind

fetch() {
  command -v java > /dev/null || skip "java is not installed (Java 17 or newer is needed)"
  [ -s "$cache/lib/connect-runtime-$version.jar" ] || skip "$cache/lib is not there: broker.sh fetches it"
  [ -s "$cache/connect-file/connect-file-$version.jar" ] && return
  command -v mvn > /dev/null || skip "mvn (Maven) is not installed, and $cache/connect-file is not there"
  local new="$cache/connect-file.$$"
  mvn -q -B -ntp dependency:copy -Dartifact=org.apache.kafka:connect-file:$version -DoutputDirectory="$new" >&2 ||
    { rm -rf "$new"; fail "Maven could not fetch connect-file $version"; }
  # Renamed when complete; a second copy is thrown away.
  mv -T "$new" "$cache/connect-file" 2> /dev/null || rm -rf "$new"
}

# The group and its topics have the port in their names: several workers may share a cluster of brokers.
configure() {
  local dir=$1 bootstrap=$2 port=$3 name=tidegate-connect-$3
  cat > "$dir/worker.properties" << END
bootstrap.servers=$bootstrap
group.id=$name
listeners=http://127.0.0.1:$port
config.storage.topic=$name-configs
offset.storage.topic=$name-offsets
status.storage.topic=$name-status
config.storage.replication.factor=1
offset.storage.replication.factor=1
offset.storage.partitions=1
status.storage.replication.factor=1
status.storage.partitions=1
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false
offset.flush.interval.ms=500
scheduled.rebalance.max.delay.ms=0
plugin.path=$cache/connect-file${PLUGINS:+,$PLUGINS}
plugin.discovery=service_load
END
}

launch() {
  local dir=$1 port=$2
  # Serial collector and first compiler only: a third of the memory, and a quicker start.
  setsid java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$cache/lib/*" -Dlog4j2.configurationFile="$here/log4j2.yaml" \
    org.apache.kafka.connect.cli.ConnectDistributed "$dir/worker.properties" > "$dir/worker.log" 2>&1 < /dev/null &
  echo $! > "$dir/pid"
  until_ready "$dir" $START_SECONDS_MAX curl -sf -m 2 "http://127.0.0.1:$port/connectors"
}

start() {
  command -v curl > /dev/null || skip "curl is not installed"
  fetch
  mkdir -p "$1"
  local dir port; dir=$(cd "$1" && pwd)
  for _ in $(seq $PORT_TRIES_MAX); do
    port=$(free_port)
    configure "$dir" "$2" "$port"
    if launch "$dir" "$port"; then
      echo "http://127.0.0.1:$port" > "$dir/url"
      [ -z "${3:-}" ] || watch "$dir" "$3"
      return
    fi
    grep -q "Address already in use\|Failed to bind" "$dir/worker.log" || break
  done
  tail -20 "$dir/worker.log" >&2
  fail "the worker did not start"
}

[ $# -ge 2 ] || fail "usage: connect.sh start DIR BOOTSTRAP [PID] | stop DIR"
case $1 in
  start) start "$2" "${3:?the brokers}" "${4:-}" ;;
  # What it has is in topics: nothing is lost with it.
  stop) end KILL "$2" ;;
  *) fail "unknown command $1" ;;
esac
