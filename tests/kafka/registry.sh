#!/usr/bin/env bash
# A real schema registry with Confluent's API for tests: Apicurio on a free loopback port, its schemas in a file.
#
#   registry.sh start DIR [PID]  starts it and waits until it is ready; DIR/url then holds the URL for clients. Started again
#                                on the same DIR it has the same port and schemas. With PID it stops by itself when that
#                                process has ended.
#   registry.sh kill DIR         kills it, as a crash would
#   registry.sh stop DIR         stops it; DIR stays
#
# The program comes from Maven Central and is kept in ${XDG_CACHE_HOME:-~/.cache}/tidegate. Exit code 77: Java or Maven is
# missing, so tests are to be skipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) what="schema registry"
source "$here/service.sh"
version=2.6.13.Final
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/apicurio-$version
jar=apicurio-registry-app-$version-runner.jar
START_SECONDS_MAX=90 # a cold start takes 3 s on a quiet machine
PORT_TRIES_MAX=5     # another process may take a port between our look and the registry's bind

fetch() {
  command -v java > /dev/null || skip "java is not installed (Java 17 or newer is needed)"
  [ -s "$cache/$jar" ] && return
  command -v mvn > /dev/null || skip "mvn (Maven) is not installed, and $cache is not there"
  local new="$cache.$$" name=apicurio-registry-app-$version-all.tar.gz
  mkdir -p "$new"
  { mvn -q -B -ntp dependency:copy -Dartifact=io.apicurio:apicurio-registry-app:$version:tar.gz:all -DoutputDirectory="$new" &&
    tar xzf "$new/$name" -C "$new" && rm "$new/$name"; } >&2 ||
    { rm -rf "$new"; fail "Maven could not fetch Apicurio Registry $version"; }
  # Renamed when complete; a second copy is thrown away.
  mv -T "$new" "$cache" 2> /dev/null || rm -rf "$new"
}

launch() {
  local dir=$1 port=$2
  # What was registered is on disk before the response. Serial collector and first compiler only: a third of the memory, and a quicker start.
  setsid java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$port" \
    -Dquarkus.datasource.jdbc.url="jdbc:h2:file:$dir/schemas;WRITE_DELAY=0" \
    -jar "$cache/$jar" > "$dir/registry.log" 2>&1 < /dev/null &
  echo $! > "$dir/pid"
  until_ready "$dir" $START_SECONDS_MAX curl -sf -m 2 "http://127.0.0.1:$port/health/ready"
}

start() {
  command -v curl > /dev/null || skip "curl is not installed"
  fetch
  mkdir -p "$1"
  local dir port; dir=$(cd "$1" && pwd)
  for _ in $(seq $PORT_TRIES_MAX); do
    port=$(cat "$dir/port" 2> /dev/null || free_port)
    if launch "$dir" "$port"; then
      echo "$port" > "$dir/port"
      echo "http://127.0.0.1:$port/apis/ccompat/v7" > "$dir/url"
      [ -z "${2:-}" ] || watch "$dir" "$2"
      return
    fi
    grep -q "already in use\|already bound" "$dir/registry.log" && [ ! -s "$dir/port" ] || break
  done
  tail -20 "$dir/registry.log" >&2
  fail "the registry did not start"
}

[ $# -ge 2 ] || fail "usage: registry.sh start DIR [PID] | kill DIR | stop DIR"
case $1 in
  start) start "$2" "${3:-}" ;;
  kill) end KILL "$2" ;;
  stop) end TERM "$2" ;;
  *) fail "unknown command $1" ;;
esac
