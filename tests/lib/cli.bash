# SPDX-License-Identifier: MIT
# What the tests of the command share: a runtime directory and a daemon of their own, and patience with deadlines.
# The environment is tools/env's.
bats_require_minimum_version 1.5.0

setup() {
	MEMCTL_DIR=$(mktemp -d "${TEST_SHM:-/dev/shm}/memctl-cli-XXXXXX")
	export MEMCTL_DIR
	export LC_ALL=C.UTF-8
	unset MEMCTL_GROUP LD_PRELOAD NO_COLOR
	started=()
}

# Ends what the test has started, and nothing else.
teardown() {
	local pid
	for pid in "${started[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
	memctl kill / >/dev/null 2>&1 || true
	memctl daemon stop >/dev/null 2>&1 || true
	rm -rf "$MEMCTL_DIR"
}

# start COMMAND [ARG...]: in the background, ended by teardown; its pid is $! and the last of $started. Bats waits for
# whoever holds its descriptor 3.
start() {
	"$@" 3>&- &
	started+=($!)
}

# ended_with STATUS PID: waits for what was started; not by `run`, whose subshell has no children.
ended_with() {
	local status=0
	wait "$2" || status=$?
	equals "$status" "$1"
}

# until_true COMMAND [ARG...]: waits until it succeeds.
until_true() {
	local deadline=$((SECONDS + 60))
	until "$@"; do
		if [ "$SECONDS" -ge "$deadline" ]; then echo "waited too long for: $*"; return 1; fi
		sleep 0.02
	done
}

# The words or fail with what was there instead.
contains() { # TEXT WORDS
	[[ $1 == *"$2"* ]] || { printf 'no "%s" in:\n%s\n' "$2" "$1"; return 1; }
}
lacks() {
	[[ $1 != *"$2"* ]] || { printf '"%s" in:\n%s\n' "$2" "$1"; return 1; }
}
equals() { # IS WANTED
	[ "$1" = "$2" ] || { printf 'is:     %s\nwanted: %s\n' "$1" "$2"; return 1; }
}
lines() { # NUMBER TEXT
	equals "$(printf '%s\n' "$2" | wc -l)" "$1"
}

has_no_group() { ! memctl get "$1" memory.current >/dev/null 2>&1; }
has_member() { [ -n "$(memctl ps --no-header "$1" 2>/dev/null)" ]; }
has_no_member() { [ -z "$(memctl ps --no-header "$1" 2>/dev/null)" ]; }
is_gone() { ! kill -0 "$1" 2>/dev/null; }

# json FILTER: what jq, or python where there is none, makes of stdin's JSON: only ".a.b" and ".[0].a" paths.
json() {
	python3 -c '
import json, re, sys
v = json.load(sys.stdin)
for name, index in re.findall(r"\.?([A-Za-z_]+|\"[^\"]+\")|\[(\d+)\]", sys.argv[1]):
    v = v[name.strip(chr(34))] if name else v[int(index)]
print(v if isinstance(v, str) else json.dumps(v))' "$1"
}
