#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Bad input and bad surroundings: one sentence on stderr that says what, why and what to try; nothing is changed.
load ../lib/cli

# refused STATUS WORDS COMMAND [ARG...]: memctl fails with one line that has the words, and prints nothing else.
refused() {
	local status=$1 words=$2
	shift 2
	run "-$status" --separate-stderr memctl "$@"
	contains "$stderr" "$words"
	contains "$stderr" "memctl: $1: "
	equals "$output" ""
	lines 1 "$stderr"
}

# As refused, for what argp says: a sentence and where help is.
misused() {
	local status=$1 words=$2
	shift 2
	run "-$status" --separate-stderr memctl "$@"
	contains "$stderr" "$words"
	contains "$stderr" "memctl $1 --help"
	equals "$output" ""
}

@test "unknown group" {
	for command in get ls tree stat ps kill rm; do
		refused 1 "no such group: /nix; 'memctl tree' shows" $command /nix
	done
	refused 1 "no such group: /nix" set /nix memory.max=1G
	refused 1 "no such group: /nix: create it before /nix/a" create /nix/a
}

@test "a variable that is not set is no limit of 0" {
	refused 125 "memory.max is given no value" run --max "" true
	memctl create /a memory.max=64M
	refused 1 "memory.max is given no value" set /a memory.max=
	refused 1 "memory.limit_in_bytes is given no value" set /a memory.limit_in_bytes=
	equals "$(memctl get /a memory.max)" 67108864
}

@test "a kind of picture that is not made" {
	misused 2 "no picture of the kind '.gif' can be made" plot / -o "$MEMCTL_DIR/x.gif"
	[ ! -e "$MEMCTL_DIR/x.gif" ]
}

@test "a file that is no program" {
	: >"$MEMCTL_DIR/data"
	refused 1 "it is there, but cannot be executed: $MEMCTL_DIR/data" doctor "$MEMCTL_DIR/data"
}

@test "unknown key" {
	memctl create /a
	refused 1 "no such key: 'memory.nix'" get /a memory.nix
	refused 1 "no such key: 'memory.nix'" set /a memory.nix=1
	refused 1 "compressed swap pool" get /a memory.zswap.max
	refused 1 "'1' is not for dmem.max: a region and a size" set /a dmem.max=1
	refused 1 "not in this version: memory is not counted" get /a memory.numa_stat
	refused 1 "cannot be seen from user space" get /a memory.kmem.usage_in_bytes
	refused 1 "can only be read" set /a memory.current=1
}

@test "sizes the kernel would not take" {
	memctl create /a memory.max=64M
	for size in 12x 1.5G -1 +5M "1 M" maximum 1kb 0x 08; do
		refused 1 "is no size for memory.max" set /a "memory.max=$size"
	done
	equals "$(memctl get /a memory.max)" 67108864
}

@test "settings that are none" {
	memctl create /a
	refused 1 "not a setting: 'memory.max'; write KEY=VALUE" set /a memory.max
	refused 1 "not a setting: '=5'" set /a =5
	refused 1 "not a setting: ''" create /b ""
	has_no_group /b
	refused 1 "fail, kill or wait" set /a memory.oom.policy=die
}

@test "names" {
	for path in a "" /a/ // /a//b /a/.. /../a /. "/a b" "/a	b" "/a*"; do
		refused 1 "not a group's path" create "$path"
	done
	refused 1 "longer than 63 bytes" create "/$(printf '%064d' 0)"
	refused 1 "UTF-8" create $'/\xff'
	equals "$(memctl ls --no-header)" ""
}

@test "depth 17" {
	memctl create -p /1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16
	refused 1 "more than 16 names" create /1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17
	memctl rm -r /1
	refused 1 "more than 16 names" create -p /1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17
	has_no_group /1
}

@test "a group that exists, has members or groups below, or is the root" {
	memctl create -p /a/b
	refused 1 "exists already; 'memctl set'" create /a
	refused 1 "-r" rm /a
	refused 1 "root" rm /
	start memctl run -g /c sleep 100
	until_true has_member /c
	refused 1 "'memctl kill'" rm /c
}

@test "unknown options, commands, formats, fields, signals" {
	misused 2 "unrecognized option '--nix'" ls --nix
	misused 2 "no such format: 'xml'" ls -o xml
	misused 2 "no such signal: 'NIX'" kill -s NIX /a
	misused 2 "too many arguments" ls / /
	misused 2 "GROUP is missing" get
	misused 2 "start, stop or status is missing" daemon
	refused 2 "'restart' is not start, stop or status" daemon restart
	refused 2 "no such field: 'nix'; there are group, current, max" ls -f nix
	refused 2 "no such field: 'nix'" ls --sort nix
	run -2 memctl nix
	equals "$output" "memctl: no such command: 'nix'; 'memctl help' lists them"
	run -2 memctl
	equals "$output" "memctl: a command is missing; 'memctl help' lists them"
	refused 2 "no such command: 'nix'" help nix
}

@test "a dead daemon's socket" {
	memctl create /a
	pid=$(cat "$MEMCTL_DIR/memctld.pid")
	kill -KILL "$pid"
	until_true test ! -e "/proc/$pid/exe"
	test -S "$MEMCTL_DIR/control.sock"
	run -3 memctl daemon status
	equals "$(memctl ls -f group --no-header)" /a
}

@test "a daemon that is stopped is waited for, then named" {
	memctl daemon start
	pid=$(cat "$MEMCTL_DIR/memctld.pid")
	kill -STOP "$pid"
	start sh -c 'memctl ls >"$MEMCTL_DIR/out" 2>&1; echo $? >"$MEMCTL_DIR/status"'
	sleep 0.2
	test ! -e "$MEMCTL_DIR/status"
	kill -CONT "$pid"
	until_true test -s "$MEMCTL_DIR/status"
	equals "$(cat "$MEMCTL_DIR/status")" 0
}

@test "a daemon that cannot be started" {
	MEMCTL_DAEMON=/nix refused 1 "cannot start the daemon /nix" ls
	MEMCTL_DAEMON=/bin/false refused 1 "did not start: it ended without a word" ls
	MEMCTL_DAEMON=/nix refused 125 "cannot start the daemon /nix" run true
}

@test "a directory of somebody else" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	chown 12345 "$MEMCTL_DIR"
	refused 1 "belongs to somebody else; set MEMCTL_DIR" ls
	refused 125 "belongs to somebody else" run true
	equals "$(ls -A "$MEMCTL_DIR")" ""
}

@test "a directory that is open to others" {
	chmod 777 "$MEMCTL_DIR"
	refused 1 "is open to other users; 'chmod 700" ls
	chmod 755 "$MEMCTL_DIR"
	refused 125 "is open to other users" run true
	equals "$(ls -A "$MEMCTL_DIR")" ""
}

@test "a directory that is none, a link, relative, or too long" {
	local dir=$MEMCTL_DIR
	ln -s "$dir" "$dir/link"
	MEMCTL_DIR=$dir/link refused 1 "no directory, or a link" ls
	touch "$dir/file"
	MEMCTL_DIR=$dir/file refused 1 "no directory, or a link" ls
	MEMCTL_DIR=relative refused 1 "must be an absolute path" ls
	MEMCTL_DIR=/$(printf '%0100d' 0) refused 1 "longer than 95 bytes" ls
	MEMCTL_DIR=$dir/nix/nix refused 1 "cannot make the directory" ls
}

# overwrite FILE OFFSET BYTES, of a segment that no daemon serves
overwrite() {
	memctl create /a
	memctl daemon stop
	printf '%b' "$3" | dd of="$MEMCTL_DIR/$1" bs=1 seek="$2" conv=notrunc status=none
}

@test "a segment of another version" {
	overwrite limits 8 '\x63'
	refused 1 "of another version of memctl" ls
	refused 125 "of another version of memctl" run true
}

@test "a segment with a damaged header" {
	overwrite counters 0 'XX'
	refused 1 "is damaged" ls
	refused 125 "is damaged" run true
}

@test "a segment that was cut off" {
	memctl create /a
	memctl daemon stop
	truncate -s 4096 "$MEMCTL_DIR/counters"
	refused 1 "is damaged" ls
}

@test "a full file system" {
	unshare -m true 2>/dev/null || skip "no mount namespaces of one's own here"
	for size in 64k 300k; do
		run -1 unshare -m sh -c 'mount -t tmpfs -o mode=700,size=$1 tmpfs "$MEMCTL_DIR" && memctl ls' sh $size
		contains "$output" "the file system is full"
	done
	run -125 unshare -m sh -c 'mount -t tmpfs -o mode=700,size=64k tmpfs "$MEMCTL_DIR" && memctl run true'
	contains "$output" "the file system is full"
}

@test "a file system that fills up while a daemon runs" {
	unshare -m true 2>/dev/null || skip "no mount namespaces of one's own here"
	run -1 unshare -m sh -c 'mount -t tmpfs -o mode=700,size=2m tmpfs "$MEMCTL_DIR" && memctl ls >/dev/null &&
		dd if=/dev/zero of="$MEMCTL_DIR/fill" bs=4k status=none 2>/dev/null
		i=0; while memctl create /g$i; do i=$((i + 1)); [ $i -lt 3000 ] || exit 3; done; memctl daemon stop; exit 1'
	contains "$output" "the file system of $MEMCTL_DIR is full"
}

@test "on a full file system the history goes on in memory" {
	unshare -m true 2>/dev/null || skip "no mount namespaces of one's own here"
	run -0 unshare -m sh -ec 'mount -t tmpfs -o mode=700,size=2m tmpfs "$MEMCTL_DIR"
		memctl create /a memory.max=100M
		pid=$(cat "$MEMCTL_DIR/memctld.pid")
		memctl events /a
		dd if=/dev/zero of="$MEMCTL_DIR/fill" bs=4k status=none 2>/dev/null || :
		for i in 1 2 3 4 5 6 7 8; do memctl set /a memory.max=${i}M; memctl events -n 1 /a | grep "max $i.0 MiB"; done
		memctl events /a
		[ "$pid" = "$(cat "$MEMCTL_DIR/memctld.pid")" ]
		memctl daemon stop'
	contains "$output" "made "
	contains "$output" "memory.max 1.0 MiB, was 100.0 MiB"
}

@test "members may not change their own group, unless the daemon was told so" {
	memctl create /a memory.max=64M
	run -1 memctl run -g /a memctl set /a memory.max=max
	contains "$output" "refused to members of the group itself"
	equals "$(memctl get /a memory.max)" 67108864
	memctl daemon stop
	"$MEMCTL_DAEMON" --dir="$MEMCTL_DIR" --allow-members
	memctl run -g /a memctl set /a memory.max=max
	equals "$(memctl get /a memory.max)" max
}

@test "another user is turned away" {
	[ "$(id -u)" = 0 ] && command -v setpriv >/dev/null || skip "needs root and setpriv"
	memctl daemon start
	run -1 setpriv --reuid 12345 --clear-groups env PATH="$PATH" memctl ls
	lacks "$output" GROUP
}
