#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# memctl run: exit codes, groups, the environment, limits and reports, programs that cannot be preloaded.
load ../lib/cli

take() { # MIB [MEMCTL OPTION...]: a program that wants so much
	local mib=$1
	shift
	memctl run "$@" python3 -c "x = bytearray($mib << 20); x[-1] = 1"
}

@test "exit codes: COMMAND's, 128+n, 125, 126, 127" {
	run -0 memctl run true
	run -7 memctl run sh -c 'exit 7'
	run -255 memctl run sh -c 'exit 255'
	run -137 memctl run sh -c 'kill -KILL $$'
	run -139 memctl run sh -c 'ulimit -c 0; kill -SEGV $$'
	run -127 memctl run nosuchprogram
	contains "$output" "memctl: run: nosuchprogram: no such program"
	run -127 memctl run ./nosuchprogram
	run -126 memctl run /etc/passwd
	contains "$output" "cannot be executed: Permission denied"
	run -126 memctl run /
	printf 'no program' >"$MEMCTL_DIR/file"
	chmod 755 "$MEMCTL_DIR/file"
	run -127 memctl run "$MEMCTL_DIR/file" # as the shell says: it runs it as a script
	run -125 memctl run --max 12x true
	run -125 memctl run --nix true
	run -125 memctl run
}

@test "a program that is not found makes no group and no daemon" {
	run -127 memctl run -g /a nosuchprogram
	run -3 memctl daemon status
}

@test "a bad setting runs nothing and makes no group" {
	run -125 memctl run -g /a/b --max 12x touch "$MEMCTL_DIR/ran"
	run -125 memctl run -g /a/b --set memory.nix=1 touch "$MEMCTL_DIR/ran"
	run -125 memctl run -g /a/b --set memory.max touch "$MEMCTL_DIR/ran"
	run -125 memctl run -g /a/b --oom die touch "$MEMCTL_DIR/ran"
	run -125 memctl run -g a touch "$MEMCTL_DIR/ran"
	run -125 memctl run -g /a/b --swap-max 1X touch "$MEMCTL_DIR/ran"
	run -125 memctl run --device-max gpu=1G touch "$MEMCTL_DIR/ran"
	contains "$output" "no region 'gpu'"
	equals "$(memctl ls --no-header)" ""
	test ! -e "$MEMCTL_DIR/ran"
}

@test "standard input and output are COMMAND's" {
	run -0 --separate-stderr sh -c 'printf "a\nb\n" | memctl run cat'
	equals "$output" $'a\nb'
	equals "$stderr" ""
	run -0 --separate-stderr memctl run --report --max 64M echo out
	equals "$output" out
	contains "$stderr" "peak "
}

@test "options end at COMMAND, and at --" {
	equals "$(memctl run echo --max 1)" "--max 1"
	equals "$(memctl run -- echo --report)" "--report"
	equals "$(memctl run --max 64M -- echo -- x)" "-- x"
}

@test "without -g: a group that is gone afterwards" {
	start memctl run --max 64M sleep 100
	until_true has_member /
	group=$(memctl ps -f group --no-header)
	[[ $group == /run-* ]]
	equals "$(memctl get "$group" memory.max)" 67108864
	memctl kill /
	ended_with 137 "${started[0]}"
	equals "$(memctl ls --no-header)" ""
}

@test "children left behind keep the transient group until the last is gone" {
	memctl run sh -c 'sleep 100 3>&- >/dev/null 2>&1 & echo $! >"$MEMCTL_DIR/pid"'
	group=$(memctl ps -f group --no-header)
	[[ $group == /run-* ]]
	kill -TERM "$(cat "$MEMCTL_DIR/pid")"
	until_true has_no_group "$group"
}

@test "--keep keeps the group" {
	memctl run --keep --max 64M true
	group=$(memctl ls -f group --no-header)
	[[ $group == /run-* ]]
	equals "$(memctl get "$group" memory.max)" 67108864
}

@test "-g makes what is missing and keeps it; keys are set in one that exists" {
	memctl run -g /a/b --max 64M true
	equals "$(memctl get /a/b memory.max)" 67108864
	memctl run -g /a/b true
	equals "$(memctl get /a/b memory.max)" 67108864
	memctl run -g /a/b --max 32M --low 1M --set memory.high=16M true
	equals "$(memctl get /a/b memory.max memory.low memory.high)" \
		$'memory.max 33554432\nmemory.low 1048576\nmemory.high 16777216'
	run -125 memctl run -g /a/b --max 8M --low 1x true
	equals "$(memctl get /a/b memory.max)" 33554432
	memctl run -g / true
}

@test "what COMMAND held is taken back when run returns" {
	for i in 1 2 3; do
		take 40 -g /a
		equals "$(memctl get /a memory.current)" 0
		has_no_member /a
	done
	[ "$(memctl get /a memory.peak)" -gt $((40 << 20)) ]
}

@test "above the limit a charge is refused, and the report says whose" {
	run -1 --separate-stderr take 100 --max 64M
	contains "$stderr" MemoryError
	contains "$stderr" "refused 1 charge: its memory.max is 64.0 MiB, its peak was "
	contains "$stderr" "it was pid "
	contains "$stderr" "(python3), which asked for 1"
	contains "$stderr" "to try: a larger limit (--max)"
	run -0 --separate-stderr take 40 --max 64M
	equals "$stderr" ""
}

@test "a group above refuses" {
	memctl create /a memory.max=64M
	run -1 --separate-stderr take 100 -g /a/b --max 1G
	contains "$stderr" "memctl: /a refused 1 charge: its memory.max is 64.0 MiB"
	lacks "$stderr" "memctl: /a/b refused"
	contains "$stderr" "('memctl set /a memory.max=SIZE')"
}

@test "--report to a file, as JSON" {
	run -1 take 100 --max 64M --report="$MEMCTL_DIR/report" --json
	report=$(cat "$MEMCTL_DIR/report")
	equals "$(json .status <<<"$report")" 1
	equals "$(json .max <<<"$report")" 67108864
	equals "$(json .failcnt <<<"$report")" 1
	equals "$(json '.refusals[0].comm' <<<"$report")" python3
	equals "$(json '.refusals[0].pid' <<<"$report")" "$(json .pid <<<"$report")"
	run -125 memctl run --report=/nix/nix touch "$MEMCTL_DIR/ran"
	contains "$output" "cannot write the report to /nix/nix"
	[ ! -e "$MEMCTL_DIR/ran" ]
	memctl run --report="$MEMCTL_DIR/report" sh -c 'sleep 100 3>&- >/dev/null 2>&1 & true'
	contains "$(cat "$MEMCTL_DIR/report")" "members left 1"
}

@test "--need waits for room, and refuses what can never be" {
	memctl create -p /a/b memory.max=64M
	memctl set /a memory.max=96M
	run -125 memctl run -g /a/b --need 65M true
	contains "$output" "65.0 MiB can never be free in /a/b, whose memory.max is 64.0 MiB"
	run -0 memctl run -g /a/b --need 64M true
	run -125 memctl run --need max true
	run -125 memctl run --need '' true
	start memctl run -g /a/c python3 -c "x = bytearray(60 << 20); x[-1] = 1; open('$MEMCTL_DIR/up', 'w'); import time; time.sleep(100)"
	until_true test -e "$MEMCTL_DIR/up"
	start sh -c 'exec memctl run -g /a/b --need 40M touch "$MEMCTL_DIR/ran" 2>"$MEMCTL_DIR/err"'
	until_true grep -q "waiting until 40.0 MiB is free in /a" "$MEMCTL_DIR/err"
	test ! -e "$MEMCTL_DIR/ran"
	memctl kill /a/c
	until_true test -e "$MEMCTL_DIR/ran"
}

@test "the environment: ours in front of LD_PRELOAD, group, directory" {
	run -0 memctl run -g /a env
	contains "$output" "LD_PRELOAD=$MEMCTL_PRELOAD"
	contains "$output" "MEMCTL_GROUP=/a"
	contains "$output" "MEMCTL_DIR=$MEMCTL_DIR"
	lacks "$output" ARGP_HELP_FMT
	other=$(ldconfig -p | sed -n 's/.*x86-64) => \(.*libz\.so.*\)/\1/p; s/.*x86-64) => \(.*libm\.so.*\)/\1/p' | head -n 1)
	equals "$(LD_PRELOAD=$other memctl run sh -c 'echo "$LD_PRELOAD"')" "$MEMCTL_PRELOAD:$other"
	equals "$(LD_PRELOAD=$MEMCTL_PRELOAD:$other memctl run sh -c 'echo "$LD_PRELOAD"')" "$MEMCTL_PRELOAD:$other"
}

@test "a user's allocator comes second, and is told so" {
	lib=$(ldconfig -p | sed -n 's/.*x86-64) => \(.*libjemalloc\.so.*\)/\1/p' | head -n 1)
	[ -n "$lib" ] || skip "no libjemalloc.so"
	export lib
	run -0 --separate-stderr sh -c 'LD_PRELOAD=$lib memctl run sh -c "echo \$LD_PRELOAD"'
	equals "$output" "$MEMCTL_PRELOAD:$lib"
	contains "$stderr" "LD_PRELOAD names the allocator $lib; memctl's own malloc comes first"
	lines 1 "$stderr"
}

@test "a missing preload library is an error, not an unlimited program" {
	MEMCTL_PRELOAD=/nix.so run -125 memctl run touch "$MEMCTL_DIR/ran"
	contains "$output" "the preload library /nix.so cannot be read"
	MEMCTL_PRELOAD="/a b.so" run -125 memctl run touch "$MEMCTL_DIR/ran"
	contains "$output" "blank or a colon"
	test ! -e "$MEMCTL_DIR/ran"
}

compile() { # OUTPUT OPTION...: a program that takes 16 MiB and waits for its input to end
	local to=$1
	shift
	cat >"$MEMCTL_DIR/prog.c" <<-'C'
		#include <stdio.h>
		#include <stdlib.h>
		#include <string.h>
		int main(void)
		{
			char *p = malloc(16 << 20);
			memset(p, 1, 16 << 20);
			puts("up");
			fflush(stdout);
			while (getchar() >= 0)
				;
			if (p[4711] != 1)
				return 1;
			free(p);
			return 0;
		}
	C
	${CC:-cc} "$@" -o "$to" "$MEMCTL_DIR/prog.c" 2>/dev/null || skip "cannot compile with $*"
}

holds_16m() { [ "$(memctl get /a memory.current)" -ge $((16 << 20)) ]; }

# observed WORDS: the program is run without the preload library, said so, counted and settled
observed() {
	mkfifo "$MEMCTL_DIR/in"
	start sh -c 'exec memctl run -g /a "$MEMCTL_DIR/prog" <"$MEMCTL_DIR/in" >"$MEMCTL_DIR/out" 2>"$MEMCTL_DIR/err"'
	exec 7>"$MEMCTL_DIR/in"
	until_true grep -q up "$MEMCTL_DIR/out"
	until_true holds_16m
	equals "$(memctl ps -f state,comm --no-header /a)" "observed  prog"
	exec 7>&-
	ended_with 0 "${started[-1]}"
	equals "$(cat "$MEMCTL_DIR/err")" "memctl: run: prog is $1 and cannot be preloaded: it is observed, and no charge of it is refused"
	equals "$(memctl get /a memory.current)" 0
}

@test "a limit that did not hold is said" {
	compile "$MEMCTL_DIR/prog" -static
	mkfifo "$MEMCTL_DIR/in"
	memctl create /a memory.max=8M
	start sh -c 'exec memctl run -g /a sh -c "$MEMCTL_DIR/prog; :" <"$MEMCTL_DIR/in" >"$MEMCTL_DIR/out" 2>"$MEMCTL_DIR/err"'
	exec 7>"$MEMCTL_DIR/in"
	until_true grep -q up "$MEMCTL_DIR/out"
	until_true holds_16m
	exec 7>&-
	ended_with 0 "${started[-1]}"
	contains "$(cat "$MEMCTL_DIR/err")" "memctl: /a went above its memory.max of 8.0 MiB: its peak was 1"
	lines 1 "$(cat "$MEMCTL_DIR/err")"
}

@test "a static program is observed" {
	compile "$MEMCTL_DIR/prog" -static
	observed "statically linked"
}

@test "a program with ASan is observed" {
	compile "$MEMCTL_DIR/prog" -fsanitize=address
	observed "built with a sanitizer"
}

@test "a 32-bit program is observed" {
	compile "$MEMCTL_DIR/prog" -m32
	observed "built for another kind of machine"
}

@test "a script runs by its interpreter" {
	printf '#!/bin/sh\nexit 9\n' >"$MEMCTL_DIR/script"
	chmod 755 "$MEMCTL_DIR/script"
	run -9 memctl run "$MEMCTL_DIR/script"
	equals "$output" ""
	printf 'exit 8\n' >"$MEMCTL_DIR/script"
	run -8 memctl run "$MEMCTL_DIR/script"
}

@test "everything COMMAND starts is in the group" {
	start memctl run -g /a sh -c 'sh -c "sleep 100 & sleep 100 & wait" & wait'
	three() { [ "$(memctl ps --no-header /a | grep -c sleep)" = 2 ]; }
	until_true three
	equals "$(memctl ps --json /a | json '[0].group')" /a
	memctl kill /a
	ended_with 137 "${started[0]}"
}

@test "run inside run: the inner group holds the inner program" {
	memctl create /in
	start memctl run -g /out sh -c 'memctl run -g /in sleep 100; exit 5'
	until_true has_member /in
	equals "$(memctl ps -f comm --no-header /in)" sleep
	equals "$(memctl ps --no-header /out | wc -l)" 2
	memctl kill /in
	ended_with 5 "${started[0]}"
	equals "$(memctl get /in memory.current)" 0
	memctl create /small memory.max=32M
	run -1 memctl run -g /out memctl run -g /small python3 -c 'x = bytearray(64 << 20)'
	contains "$output" "/small refused 1 charge"
}

# A handler that only counted would miss what comes between a look and pause(); and of two that are pending at once, the
# kernel delivers the lower number first: so each is waited for before the next is sent.
@test "signals of others are passed on, once" {
	cat >"$MEMCTL_DIR/count.py" <<-'PY'
		import os, signal, sys
		told, teller = os.pipe()
		os.set_blocking(teller, False)
		signal.set_wakeup_fd(teller)
		for name in "SIGINT SIGTERM SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGWINCH SIGCONT".split():
		    signal.signal(getattr(signal, name), lambda number, frame: None)
		print("up", flush=True)
		names = []
		while names.count("SIGUSR1") < 2:
		    for number in os.read(told, 64):
		        names.append(signal.Signals(number).name)
		        print(names[-1], flush=True)
	PY
	start sh -c 'exec memctl run python3 "$MEMCTL_DIR/count.py" >"$MEMCTL_DIR/out"'
	until_true grep -q up "$MEMCTL_DIR/out"
	for s in HUP QUIT USR1 USR2 WINCH CONT TERM INT; do
		kill -$s "${started[0]}"
		until_true grep -qx "SIG$s" "$MEMCTL_DIR/out"
	done
	kill -USR1 "${started[0]}"
	ended_with 0 "${started[0]}"
	equals "$(tail -n +2 "$MEMCTL_DIR/out" | tr '\n' ' ')" \
		"SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGWINCH SIGCONT SIGTERM SIGINT SIGUSR1 "
}

@test "signals that were ignored or blocked are so for COMMAND" {
	cat >"$MEMCTL_DIR/state.sh" <<-'SH'
		grep -E 'SigBlk|SigIgn' /proc/self/status
	SH
	plain=$(grep -E 'SigBlk|SigIgn' /proc/self/status)
	equals "$(memctl run grep -E 'SigBlk|SigIgn' /proc/self/status)" "$plain"
	equals "$(sh -c 'trap "" HUP; memctl run grep -E SigIgn /proc/self/status')" \
		"$(sh -c 'trap "" HUP; grep -E SigIgn /proc/self/status')"
	cat >"$MEMCTL_DIR/ignore.py" <<-'PY'
		import signal, subprocess, sys
		p = subprocess.run(["memctl", "run", "sh", "-c", "exit 6"], restore_signals=False,
		                   preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
		sys.exit(p.returncode)
	PY
	run -6 python3 "$MEMCTL_DIR/ignore.py"
}

@test "the daemon dies during the run: COMMAND goes on, its status is right" {
	mkfifo "$MEMCTL_DIR/in"
	start memctl run --max 64M sh -c 'read x <"$MEMCTL_DIR/in"; exit 5'
	until_true has_member /
	kill -KILL "$(cat "$MEMCTL_DIR/memctld.pid")"
	echo go >"$MEMCTL_DIR/in"
	ended_with 5 "${started[0]}"
	has_no_member /
	equals "$(memctl get / memory.current)" 0
}

@test "run that was killed leaves COMMAND in its limit, and the group until it ends" {
	start memctl run --max 64M sleep 100
	until_true has_member /
	group=$(memctl ps -f group --no-header)
	kill -KILL "${started[0]}"
	until_true is_gone "${started[0]}"
	equals "$(memctl get "$group" memory.max)" 67108864
	memctl kill "$group"
	until_true has_no_group "$group"
}

@test "many runs at once" {
	pids=()
	for i in $(seq 20); do
		memctl run -g /a sh -c "exit $i" 3>&- &
		pids+=($!)
	done
	for i in $(seq 20); do ended_with "$i" "${pids[$((i - 1))]}"; done
	equals "$(memctl get /a memory.current)" 0
}
