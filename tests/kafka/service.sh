# What the scripts of this folder that run a service share; sourced, not run. `what` is the service, as people call it.

script=$(basename "$0")

skip() { echo "no $what: $1" >&2; exit 77; }
fail() { echo "$script: $1" >&2; exit 1; }

taken() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }

# A port below the range from which the kernel picks ports for outgoing connections; none of those given.
free_port() {
  local port
  for _ in $(seq 100); do
    port=$((20000 + RANDOM % 12000))
    [[ " $* " == *" $port "* ]] || taken "$port" || { echo "$port"; return; }
  done
  fail "no free port found"
}

# The process of DIR runs. A zombie does not: its parent may take its time.
alive() {
  [ -s "$1/pid" ] && kill -0 "$(cat "$1/pid")" 2> /dev/null &&
    ! grep -q "^State:.Z" "/proc/$(cat "$1/pid")/status" 2> /dev/null
}

# until_ready DIR SECONDS COMMAND...: waits until the command succeeds; fails when the process ends before.
until_ready() {
  local dir=$1 seconds=$2
  shift 2
  for _ in $(seq $((seconds * 4))); do
    "$@" > /dev/null 2>&1 && return 0
    alive "$dir" || return 1
    sleep 0.25
  done
  return 1
}

# Outlives the script: ends the process of DIR when process $2 has ended, by TERM first if $3 seconds are given for it.
watch() {
  local parent=$2 grace=${3:-} child; child=$(cat "$1/pid")
  (
    while kill -0 "$parent" 2> /dev/null && kill -0 "$child" 2> /dev/null; do sleep 0.5; done
    kill -CONT "$child" 2> /dev/null
    [ -z "$grace" ] || { kill "$child" 2> /dev/null; sleep "$grace"; }
    kill -9 "$child" 2> /dev/null
  ) > /dev/null 2>&1 < /dev/null &
}

# end SIGNAL DIR: ends the process of DIR, by force after ten seconds.
end() {
  alive "$2" || { rm -f "$2/pid"; return 0; }
  local pid; pid=$(cat "$2/pid")
  kill -CONT "$pid" 2> /dev/null || true
  kill "-$1" "$pid" 2> /dev/null || true
  for _ in $(seq 100); do kill -0 "$pid" 2> /dev/null || break; sleep 0.1; done
  kill -9 "$pid" 2> /dev/null || true
  rm -f "$2/pid"
}
