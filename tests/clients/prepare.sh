#!/usr/bin/env bash
# Installs ksqlDB clients for tests/it/clients.rs, in the versions of the lock files here.
#
#   prepare.sh node [FOLDER]        prints the folder of the npm packages that FOLDER here locks (without: this one)
#   prepare.sh python REQUIREMENTS  prints the interpreter that has what REQUIREMENTS names
#   prepare.sh java FOLDER          prints the class path of what the pom.xml of FOLDER here names
#
# They are kept in ${XDG_CACHE_HOME:-~/.cache}/tidegate, a folder a lock file. Exit code 77: node, npm, Python,
# Java, Maven or the registry is missing, so tests are to be skipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/clients
PYTHON_BUILD="setuptools==69.5.1 wheel==0.45.1" # the last ones that build the PyPI package ksql
REGISTRY_SECONDS=15

skip() { echo "$1" >&2; exit 77; }

digest() { cat "$@" | sha256sum | cut -c1-16; }

# An installation that failed is a fault, unless nobody answers at the registry.
failed() {
  cat "$2" >&2
  timeout "$REGISTRY_SECONDS" bash -c "$1" > /dev/null 2>&1 || skip "the registry does not answer ($1)"
  echo "prepare.sh: the clients cannot be installed" >&2
  exit 1
}

# Renamed when complete; whoever comes second throws his copy away.
settle() { mv -T "$1" "$2" 2>/dev/null || rm -rf "$1"; }

node_packages() {
  command -v node > /dev/null && command -v npm > /dev/null || skip "node and npm are not installed"
  local from="$here/${1:-.}" to new
  to="$cache/node-$(digest "$from/package-lock.json")"
  if [ ! -d "$to" ]; then
    new="$to.$$"
    mkdir -p "$new"
    cp "$from/package.json" "$from/package-lock.json" "$new"
    (cd "$new" && npm ci --no-audit --no-fund --ignore-scripts) > "$new.log" 2>&1 ||
      { rm -rf "$new"; failed "npm ping" "$new.log"; }
    rm -f "$new.log"
    settle "$new" "$to"
  fi
  echo "$to/node_modules"
}

# An environment holds absolute paths: it is made where it stays, and a mark says that it is complete.
python_packages() {
  command -v python3 > /dev/null || skip "python3 is not installed"
  local requirements="$here/$1" to
  to="$cache/python-$(digest "$requirements")"
  mkdir -p "$cache"
  (
    flock 9
    if [ ! -f "$to/complete" ]; then
      rm -rf "$to"
      python3 -m venv "$to" > "$to.log" 2>&1 || { rm -rf "$to"; skip "python3 -m venv does not work here"; }
      { "$to/bin/pip" install -q $PYTHON_BUILD &&
        "$to/bin/pip" install -q --no-build-isolation -r "$requirements"; } >> "$to.log" 2>&1 ||
        { rm -rf "$to"; failed "python3 -m pip download -q --no-deps -d $cache/ping six==1.17.0" "$to.log"; }
      touch "$to/complete"
    fi
  ) 9> "$to.lock"
  echo "$to/bin/python"
}

java_packages() {
  command -v java > /dev/null && command -v mvn > /dev/null || skip "java and mvn (Maven) are not installed"
  local pom="$here/$1/pom.xml" to new
  to="$cache/java-$(digest "$pom")"
  if [ ! -d "$to" ]; then
    new="$to.$$"
    mkdir -p "$cache"
    mvn -q -B -ntp -f "$pom" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$new" > "$new.log" 2>&1 ||
      { rm -rf "$new"; failed "mvn -q -B -ntp -U dependency:get -Dtransitive=false -Dartifact=org.slf4j:slf4j-api:2.0.13" "$new.log"; }
    rm -f "$new.log"
    settle "$new" "$to"
  fi
  echo "$to/*"
}

case ${1:-} in
  node) node_packages "${2:-}" ;;
  python) python_packages "$2" ;;
  java) java_packages "$2" ;;
  *) echo "usage: prepare.sh node [FOLDER] | python REQUIREMENTS | java FOLDER" >&2; exit 2 ;;
esac
