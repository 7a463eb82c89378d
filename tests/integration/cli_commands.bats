#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Every command but run: what it does and how it prints.
load ../lib/cli

@test "version and help start no daemon" {
	equals "$(memctl version)" "memctl $(memctl version --json | json .memctl)"
	memctl help >/dev/null
	memctl --help >/dev/null
	run -3 memctl daemon status
	contains "$output" "no daemon runs in $MEMCTL_DIR"
}

@test "version names the daemon's when one runs" {
	memctl daemon start
	contains "$(memctl version)" "memctld "
	equals "$(memctl --version)" "$(memctl version)"
}

@test "help lists the commands, each of which has --help" {
	for name in $(memctl help --names); do
		run -0 --separate-stderr memctl "$name" --help
		contains "$output" "Usage: memctl $name"
		equals "$stderr" ""
		equals "$(memctl help "$name")" "$output"
		contains "$(memctl help)" "  $name "
	done
	equals "$(memctl help --names | wc -l)" "$(grep -c '^COMMAND(' "${srcdir:-.}/memctl/commands.def")"
}

@test "the first command starts a daemon, and only one" {
	equals "$(memctl ls --no-header)" ""
	pid=$(memctl daemon status --json | json .pid)
	memctl create /a
	equals "$(memctl daemon status --json | json .pid)" "$pid"
}

@test "many at once start one daemon" {
	local pids=()
	for i in $(seq 20); do
		memctl create "/g$i" 3>&- &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid"; done
	equals "$(memctl ls --no-header | wc -l)" 20
}

@test "daemon: start, status, stop, each twice" {
	memctl daemon start
	run -0 memctl daemon start
	contains "$output" "one runs already in $MEMCTL_DIR"
	contains "$(memctl daemon status)" "dir $MEMCTL_DIR"
	pid=$(memctl daemon status --json | json .pid)
	memctl daemon stop
	run -3 memctl daemon status
	run -0 memctl daemon stop
	contains "$output" "none runs"
}

@test "groups and limits outlive the daemon" {
	memctl create /a memory.max=64M
	memctl daemon stop
	equals "$(memctl get /a memory.max)" 67108864
}

@test "a daemon that was killed is replaced" {
	memctl create /a memory.max=64M
	pid=$(memctl daemon status --json | json .pid)
	kill -KILL "$pid"
	equals "$(memctl get /a memory.max)" 67108864
}

@test "create, set, get, rm" {
	memctl create /a memory.max=64M memory.low=1k
	equals "$(memctl get /a memory.max)" 67108864
	equals "$(memctl get /a memory.low)" 0
	memctl set /a memory.max=max memory.high=0x1000
	equals "$(memctl get /a memory.max memory.high)" $'memory.max max\nmemory.high 4096'
	memctl rm /a
	has_no_group /a
}

@test "create -p makes what is above, and sets what exists" {
	memctl create -p /a/b/c memory.max=1G
	memctl create -p /a/b/c memory.max=2G
	memctl create -p /a/b
	equals "$(memctl get /a/b/c memory.max)" 2147483648
	equals "$(memctl ls -R -f group --no-header)" $'/a\n/a/b\n/a/b/c'
}

@test "a refused setting makes nothing, with -p either" {
	run -1 memctl create /a memory.max=64M memory.low=1x
	has_no_group /a
	run -1 memctl create -p /a/b/c memory.max=64M nokey=5
	has_no_group /a
	memctl create /a
	run -1 memctl create -p /a/b/c memory.max=1x
	equals "$(memctl ls -R -f group --no-header)" /a
}

@test "a refused setting leaves the others" {
	memctl create /a memory.max=64M
	run -1 memctl set /a memory.max=32M memory.high=1x
	run -1 memctl set /a memory.max=32M memory.current=5
	equals "$(memctl get /a memory.max)" 67108864
}

@test "rm takes several, and -r what is below" {
	memctl create -p /a/b
	memctl create /c
	run -1 memctl rm /a
	contains "$output" "/a/b"
	memctl rm -r /a /c
	equals "$(memctl ls)" "$(memctl ls /)"
	equals "$(memctl ls --no-header)" ""
}

@test "get: one key alone, fields by line, several with names" {
	memctl create /a memory.max=64M
	equals "$(memctl get /a memory.events | head -2)" $'low 0\nhigh 0'
	equals "$(memctl get /a memory.events memory.max | grep -e oom_kill -e max)" \
		$'memory.events.max 0\nmemory.events.oom_kill 0\nmemory.max 67108864'
	contains "$(memctl get /a)" "memory.current 0"
	equals "$(memctl get --json /a memory.events | json '."memory.events".oom')" 0
}

@test "get --json is one object with numbers of bytes, and max" {
	memctl create /a memory.max=64M
	out=$(memctl get --json /a)
	equals "$(json '."memory.max"' <<<"$out")" 67108864
	equals "$(json '."memory.high"' <<<"$out")" max
	equals "$(json '."memory.stat".anon' <<<"$out")" 0
	equals "$(memctl get --json -h /a memory.max | json '."memory.max"')" 67108864
	lines 1 "$(memctl get -o jsonl /a memory.max memory.low)"
	equals "$(memctl get -o csv /a memory.max memory.low)" $'key,value\nmemory.max,67108864\nmemory.low,0'
}

@test "sizes: bytes in a pipe, for people with -h" {
	memctl create /a memory.max=64M
	equals "$(memctl get /a memory.max)" 67108864
	equals "$(memctl get -h /a memory.max)" "64.0 MiB"
	contains "$(memctl ls -h)" "64.0 MiB"
	lacks "$(memctl ls -b)" MiB
}

@test "ls: fields, sort, header, formats" {
	memctl create /b memory.max=64M
	memctl create /a memory.max=128M
	memctl create /a/x
	equals "$(memctl ls -f group,max)" $'GROUP        MAX\n/a     134217728\n/b      67108864'
	equals "$(memctl ls -R --no-header -f group)" $'/a\n/a/x\n/b'
	equals "$(memctl ls --no-header -f group --sort -group)" $'/b\n/a'
	equals "$(memctl ls --no-header -f max --sort max)" $'134217728\n 67108864'
	equals "$(memctl ls -o csv -f group,max)" $'group,max\n/a,134217728\n/b,67108864'
	equals "$(memctl ls -o jsonl -f group,max /a)" '{"group":"/a/x","max":"max"}'
	equals "$(memctl ls --json | json '[1].group')" /b
	equals "$(memctl ls --json /a/x)" "[]"
}

@test "openmetrics: families, units, labels, end" {
	memctl create /a memory.max=64M
	out=$(memctl ls -o openmetrics)
	contains "$out" "# TYPE memctl_group_max_bytes gauge"
	contains "$out" "# UNIT memctl_group_max_bytes bytes"
	contains "$out" 'memctl_group_max_bytes{group="/a"} 67108864'
	equals "$(tail -n 1 <<<"$out")" "# EOF"
	out=$(memctl get -o openmetrics /a)
	contains "$out" 'memctl_memory_high_bytes{group="/a"} +Inf'
	contains "$out" 'memctl_memory_events_total{group="/a",item="oom"} 0'
	contains "$out" 'memctl_memory_limit_in_bytes{group="/a"} 67108864'
	equals "$(grep -c '^# TYPE' <<<"$out")" "$(grep '^# TYPE' <<<"$out" | sort -u | wc -l)"
}

@test "tree draws lines, in ASCII where the locale has no others" {
	memctl create -p /a/b/c
	memctl create /a/d
	memctl create /e memory.max=64M
	equals "$(memctl tree -f group --no-header)" $'/\n├─ a\n│  ├─ b\n│  │  └─ c\n│  └─ d\n└─ e'
	equals "$(LC_ALL=C memctl tree -f group --no-header /a)" $'/a\n|- b\n|  `- c\n`- d'
	contains "$(memctl tree)" "└─ e              0  67108864        0"
	equals "$(memctl tree --json | json '[0].group')" /
	equals "$(memctl tree -o csv -f group | tail -n 1)" /e
}

@test "siblings sort by name, each before what is below it" {
	for g in /a /a-b /a.b /aB /a/z; do memctl create "$g"; done
	equals "$(memctl ls -R -f group --no-header | tr '\n' ' ')" "/a /a/z /a-b /a.b /aB "
}

@test "stat says what things mean" {
	memctl create /a memory.max=64M
	out=$(memctl stat /a)
	contains "$out" "memory.max"
	contains "$out" "the hard limit"
	contains "$out" "times a charge was refused for good"
	contains "$out" "pages under malloc"
	equals "$(memctl stat --json /a | json '."memory.max"')" 67108864
	equals "$(memctl stat -f item,value --no-header /a | head -1)" "memory.current                0"
}

@test "ps and kill" {
	memctl create /a
	start memctl run -g /a/b sleep 100
	until_true has_member /a/b
	equals "$(memctl ps -f group,comm,state --no-header)" "/a/b  sleep  live"
	equals "$(memctl ps -l /a --no-header)" ""
	pid=$(memctl ps --json | json '[0].pid')
	equals "$(readlink "/proc/$pid/exe")" "$(readlink -f "$(command -v sleep)")"
	contains "$(memctl ps -o openmetrics)" "memctl_member_held_bytes{pid=\"$pid\""
	run -1 memctl rm -r /a
	contains "$output" "1 member"
	equals "$(memctl kill -v -s TERM /a)" "1 member of /a got SIGTERM"
	ended_with 143 "${started[0]}"
	until_true has_no_member /a
	memctl rm -r /a
}

@test "kill takes names and numbers, and a group without members" {
	memctl create /a
	for s in TERM SIGTERM term 15; do
		equals "$(memctl kill -v -s $s /a)" "0 members of /a got SIGTERM"
	done
	memctl kill /a
}

@test "list and get go on for more than a packet" {
	for i in $(seq 40); do
		name=$(printf "%063d" "$i")
		memctl create -p "/$name/$name/$name/$name/$name/$name/$name/$name/$name/$name/$name/$name"
	done
	equals "$(memctl ls -R --no-header | wc -l)" 480
	equals "$(memctl tree --no-header | wc -l)" 481
}

@test "a full disk is noticed" {
	[ -w /dev/full ] || skip "no /dev/full"
	memctl create /a
	run -1 sh -c 'memctl ls >/dev/full'
	contains "$output" "cannot write the output"
}

@test "a reader that leaves is no failure to talk about" {
	for i in $(seq 9); do memctl create "/g$i"; done
	run -0 sh -c 'memctl get / | head -n 1'
	equals "$output" "memory.current 0"
}

complete() { :; }                                # bats' shell is not interactive
completed() { # WORD...: what completing the last word gives
	COMP_WORDS=(memctl "$@")
	COMP_CWORD=$#
	_memctl
	printf '%s\n' "${COMPREPLY[@]}"
}

@test "bash completion knows commands, options, groups and keys" {
	. "${srcdir:-.}/memctl/completion.bash"
	equals "$(completed da)" daemon
	equals "$(completed daemon sta | sort | tr '\n' ' ')" "start status "
	equals "$(completed get /)" ""
	run -3 memctl daemon status
	memctl create -p /build/tests
	equals "$(completed get /build/)" /build/tests
	equals "$(completed set /build memory.oom.p)" memory.oom.policy=
	equals "$(completed ls --rec)" --recursive
	equals "$(completed run -g /build/t)" /build/tests
	equals "$(completed ps -o open)" openmetrics
	contains "$(completed run memct)" memctl
}
