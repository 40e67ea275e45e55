#!/usr/bin/env bash
# A real Apache Kafka broker for tests: one KRaft node on free loopback ports.
#
#   broker.sh start DIR [PID]   formats DIR if it is new, starts the broker and waits until it answers; DIR/bootstrap
#                               then holds HOST:PORT. With PID the broker stops by itself when that process has ended.
#   broker.sh secure DIR [PID]  the same with a second listener, SASL_SSL: DIR/secure holds its HOST:PORT, DIR/certs/ca.crt
#                               the authority of its certificate. alice (SCRAM-SHA-512) and bob (PLAIN) may log in, with
#                               their names and -secret for passwords.
#   broker.sh proxied DIR [PID] the same as start with a second listener that tells clients to come to port PROXY_PORT of
#                               the environment: DIR/proxied holds the HOST:PORT to which a proxy there has to pass them.
#   broker.sh join DIR [PID]    the same as start for a second broker of the cluster whose DIR is CLUSTER of the environment
#   broker.sh stop DIR          stops it; DIR stays
#   broker.sh port DIR          prints HOST:PORT of the running broker
#   broker.sh pid DIR           prints the broker's process id
#   broker.sh java ARGS...      runs Java with Kafka's class path: its tools, a source file
#
# The jars come from Maven Central and are kept in ${XDG_CACHE_HOME:-~/.cache}/tidegate. Exit code 77: Java or Maven is
# missing, so tests are to be skipped. KAFKA_HEAP (512m) sets the heap.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) what="Kafka broker"
source "$here/service.sh"
version=4.3.1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/kafka-$version
secure=no users=() proxy= cluster=
START_SECONDS_MAX=60 # a cold start takes 4 s on a quiet machine
PORT_TRIES_MAX=5     # another process may take a port between our look and the broker's bind

fetch() {
  command -v java >/dev/null || skip "java is not installed (Java 17 or newer is needed)"
  # A cache of an earlier time lacks jars that were added since; what is there stays, brokers may be using it.
  [ -s "$cache/lib/kafka-streams-$version.jar" ] && return
  command -v mvn >/dev/null || skip "mvn (Maven) is not installed, and $cache/lib is not complete"
  mkdir -p "$cache"
  local new="$cache/lib.$$"
  mvn -q -B -ntp -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$new" >&2 ||
    { rm -rf "$new"; fail "Maven could not fetch Kafka $version"; }
  # Renamed when complete; whoever comes second adds what is not there.
  mv -T "$new" "$cache/lib" 2>/dev/null || { cp -n "$new"/*.jar "$cache/lib/"; rm -rf "$new"; }
}

# Started again on the same DIR, the broker keeps its ports, so that clients find it again.
configure() {
  local dir=$1
  [ -s "$dir/ports" ] && [ "${2:-}" != new ] ||
    { a=$(free_port); b=$(free_port "$a"); echo "$a $b $(free_port "$a" "$b")" > "$dir/ports"; }
  read -r broker controller tls < "$dir/ports"
  sed -e "s/@BROKER@/$broker/g; s/@CONTROLLER@/$controller/g; s|@DATA@|$dir/data|g" "$here/server.properties" > "$dir/server.properties"
  [ -z "$cluster" ] || {
    local quorum; read -r _ quorum _ < "$cluster/ports"
    sed -i -e "s|^process.roles=.*|process.roles=broker|; s|^node.id=.*|node.id=2|" \
      -e "s|^\(controller.quorum.voters=\).*|\11@127.0.0.1:$quorum|; s|^\(listeners=[^,]*\),.*|\1|" "$dir/server.properties"
  }
  [ "$secure" = no ] || {
    sed -i -e "s|^\(listeners=.*\)|\1,SASL_SSL://127.0.0.1:$tls|; s|^\(advertised.listeners=.*\)|\1,SASL_SSL://localhost:$tls|" \
      -e "s|^\(listener.security.protocol.map=.*\)|\1,SASL_SSL:SASL_SSL|" "$dir/server.properties"
    sed -e "s|@CERTS@|$dir/certs|g" "$here/secure.properties" >> "$dir/server.properties"
  }
  [ -z "$proxy" ] || {
    sed -i -e "s|^\(listeners=.*\)|\1,PROXIED://127.0.0.1:$tls|; s|^\(advertised.listeners=.*\)|\1,PROXIED://127.0.0.1:$proxy|" \
      -e "s|^\(listener.security.protocol.map=.*\)|\1,PROXIED:PLAINTEXT|" "$dir/server.properties"
    echo "127.0.0.1:$tls" > "$dir/proxied"
  }
}

# An authority of our own and a certificate of the broker, signed by it; a second authority that signed nothing.
certify() {
  [ -s "$1/broker.p12" ] && return
  command -v openssl >/dev/null || skip "openssl is not installed"
  mkdir -p "$1"
  (
    cd "$1"
    for who in ca other; do
      openssl req -x509 -newkey rsa:2048 -nodes -keyout $who.key -out $who.crt -days 30 -subj "/CN=tidegate-tests-$who"
    done
    openssl req -newkey rsa:2048 -nodes -keyout broker.key -out broker.csr -subj "/CN=broker"
    openssl x509 -req -in broker.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out broker.crt -days 30 \
      -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1')
    openssl pkcs12 -export -in broker.crt -inkey broker.key -certfile ca.crt -name broker -out broker.p12 -passout pass:changeit
  ) > "$1.log" 2>&1 || { cat "$1.log" >&2; fail "the certificates could not be made"; }
}

java_kafka() {
  # The class path is quoted on purpose: java expands the star itself.
  exec java -Xms128m -Xmx"${KAFKA_HEAP:-512m}" -XX:+UseSerialGC -cp "$cache/lib/*" \
    -Dlog4j2.configurationFile="$here/log4j2.yaml" "$@"
}

launch() {
  local dir=$1
  [ -d "$dir/data" ] || (java_kafka kafka.tools.StorageTool format -t tidegate-tests-000001 -c "$dir/server.properties" "${users[@]}") > "$dir/format.log" 2>&1 ||
    { cat "$dir/format.log" >&2; fail "the data folder could not be formatted"; }
  : > "$dir/broker.log"
  (java_kafka kafka.Kafka "$dir/server.properties") >> "$dir/broker.log" 2>&1 < /dev/null &
  echo $! > "$dir/pid"
  for _ in $(seq $((START_SECONDS_MAX * 10))); do
    grep -q "Kafka Server started" "$dir/broker.log" && return 0
    alive "$dir" || return 1
    sleep 0.1
  done
  kill -9 "$(cat "$dir/pid")" 2>/dev/null || true
  return 1
}

start() {
  mkdir -p "$1"
  local dir; dir=$(cd "$1" && pwd)
  alive "$dir" && fail "a broker runs already in $dir"
  fetch
  [ "$secure" = no ] || certify "$dir/certs"
  configure "$dir"
  for try in $(seq $PORT_TRIES_MAX); do
    if launch "$dir"; then
      echo "127.0.0.1:$broker" > "$dir/bootstrap"
      [ "$secure" = no ] || echo "localhost:$tls" > "$dir/secure"
      [ -z "${2:-}" ] || watch "$dir" "$2" 5
      return
    fi
    grep -q "Address already in use" "$dir/broker.log" && [ "$try" -lt $PORT_TRIES_MAX ] || break
    [ -s "$dir/bootstrap" ] || rm -rf "$dir/data" # the ports stand in the quorum's files
    configure "$dir" new
  done
  tail -20 "$dir/broker.log" >&2
  fail "the broker did not start"
}

[ $# -ge 2 ] || fail "usage: broker.sh start DIR [PID] | secure DIR [PID] | proxied DIR [PID] | join DIR [PID] | stop DIR | port DIR | pid DIR | java ARGS..."
case $1 in
  start) start "$2" "${3:-}" ;;
  secure)
    secure=yes users=(--add-scram 'SCRAM-SHA-512=[name=alice,password=alice-secret]')
    start "$2" "${3:-}"
    ;;
  proxied)
    proxy=${PROXY_PORT:?the port of the proxy}
    start "$2" "${3:-}"
    ;;
  join)
    cluster=${CLUSTER:?the folder of the other broker}
    start "$2" "${3:-}"
    ;;
  stop) end TERM "$2" ;;
  port) alive "$2" || fail "no broker runs in $2"; cat "$2/bootstrap" ;;
  java)
    shift
    fetch
    java_kafka "$@"
    ;;
  pid) alive "$2" || fail "no broker runs in $2"; cat "$2/pid" ;;
  *) fail "unknown command $1" ;;
esac
