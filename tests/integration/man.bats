#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The manual pages: well-formed, and complete by the tables they are made from.
top=${srcdir:-.}
build=${MEMCTL_BUILD:-.}

names() { # FILE MACRO: the first argument of each row
	sed -n "s/^$2(\"\{0,1\}\([^,\")]*\).*/\1/p" "$top/$1"
}

@test "mandoc has nothing to say" {
	command -v mandoc >/dev/null || skip "no mandoc"
	for page in "$build"/man/*.[1-8]; do
		# Our own pages are not where it looks.
		run mandoc -Tlint "$page"
		left=$(printf '%s\n' "$output" | grep -v -e 'referenced manual not found' -e 'outdated mandoc.db' -e '^$' || true)
		[ -z "$left" ] || { echo "$left"; false; }
	done
}

@test "man has nothing to warn of" {
	command -v groff >/dev/null || skip "no groff"
	for page in "$build"/man/*.[1-8]; do
		said=$(LC_ALL=C.UTF-8 MANROFFSEQ='' man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
		[ -z "$said" ] || { echo "$page: $said"; false; }
	done
}

@test "memctld(8) has every file of the runtime directory" {
	export MEMCTL_DIR=$BATS_TEST_TMPDIR/run
	memctl run -g /files --profile="$BATS_TEST_TMPDIR/sites.json" -- sh -c 'memctl export --once >/dev/null; memctl events'
	for path in "$MEMCTL_DIR"/*; do
		grep -q "^\.It Pa .*\b${path##*/}\b" "$build/man/memctld.8" || { echo "$path"; memctl daemon stop; false; }
	done
	memctl daemon stop
}

@test "memctl(1) has every event that can be subscribed to" {
	for word in $(memctl watch --help | tr -s ' \n' ' ' | sed 's/.*EVENT is \(.*\)\. Fields.*/\1/' |
		sed 's/([^)]*)//g; s/,MODE//g; s/ or /,/g' | tr -d '[] ' | tr ',' ' '); do
		grep -q "^\.It .*Cm ${word%%:*}\(:\|$\)" "$build/man/memctl.1" ||
			grep -q "^\.It .*Cm ${word%%:*}:.*" "$build/man/memctl.1" || grep -q "Cm ${word%%:*}:" "$build/man/memctl.1" ||
			{ echo "$word"; false; }
	done
}

@test "memctl(1) has every command, option, key and field" {
	page=$build/man/memctl.1
	for name in $(names memctl/commands.def COMMAND); do grep -q "^\.It Ic $name" "$page" || { echo "$name"; false; }; done
	for name in $(names controld/keys.def KEY); do grep -q "^\.It Va $name$" "$page" || { echo "$name"; false; }; done
	for name in $(memctl help --names); do
		for option in $(memctl "$name" --help | grep -o -e '--[a-z-]*' | sort -u); do
			case $option in --help | --usage | --names) continue ;; esac
			grep -q -e " -${option#--}\( \|$\)" "$page" || { echo "$name $option"; false; }
		done
	done
}

@test "memctl(7) has every call, class and event" {
	page=$build/man/memctl.7
	for name in $(names preload/calls.def CALL); do grep -q "^\.It Fn $name$" "$page" || { echo "$name"; false; }; done
	for name in $(sed -n 's/^[A-Z]*([A-Z_]*, "\([^"]*\)".*/\1/p' "$top"/accounting/events.def "$top"/accounting/classes.def); do
		grep -q "^\.It Va $name$" "$page" || { echo "$name"; false; }
	done
}

@test "memctld(8) has every option and op" {
	page=$build/man/memctld.8
	for option in $("$MEMCTL_DAEMON" --help | grep -o -e '--[a-z-]*' | sort -u); do
		case $option in --help | --usage | --version) continue ;; esac
		grep -q -e "Fl -${option#--}" "$page" || { echo "$option"; false; }
	done
	for name in $(names controld/commands.def COMMAND); do grep -q "^\.It Ic $name" "$page" || { echo "$name"; false; }; done
}

@test "libmemctl(3) has every exported name" {
	for name in $(sed -n 's/^\t\t\(memctl_[a-z_]*\);/\1/p' "$top/memctl/libmemctl.sym"); do
		grep -q -e "^\.F[no] $name\( \|$\)" "$build/man/libmemctl.3" || { echo "$name"; false; }
		grep -q -e "^\.Ss .*$name\(,\|$\)" "$build/man/libmemctl.3" || { echo "$name has no example"; false; }
	done
}
