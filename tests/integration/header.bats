#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The public header stands alone, in C11 and in C++; the library exports its names and no others.
top=${srcdir:-.}
build=${MEMCTL_BUILD:-.}

compiles() { # COMPILER [OPTION...]
	command -v "$1" >/dev/null || skip "no $1"
	mkdir -p "$BATS_TEST_TMPDIR/include"
	cp "$top/memctl/memctl.h" "$BATS_TEST_TMPDIR/include"
	printf '#include <memctl.h>\nint main(void) { return memctl_error() == 0; }\n' >"$BATS_TEST_TMPDIR/main.$file"
	"$@" -Wall -Wextra -Wpedantic -Werror -I"$BATS_TEST_TMPDIR/include" "$BATS_TEST_TMPDIR/main.$file" \
		-o "$BATS_TEST_TMPDIR/main" -L"$build/memctl/.libs" -lmemctl
	"$BATS_TEST_TMPDIR/main"
}

@test "as C11" {
	file=c compiles "${CC:-cc}" -std=c11
}

@test "as C++" {
	file=cc compiles "${CXX:-c++}" -std=c++11
}

@test "exports are those of the symbol file, each with its version" {
	command -v nm >/dev/null || skip "no nm"
	is=$(nm -D --defined-only "$build/memctl/.libs/libmemctl.so" | sed -n 's/.* T \(.*\)@@MEMCTL_.*/\1/p' | sort)
	[ "$is" = "$(sed -n 's/^\t\t\(memctl_[a-z_]*\);/\1/p' "$top/memctl/libmemctl.sym" | sort)" ]
	[ -z "$(nm -D --defined-only "$build/memctl/.libs/libmemctl.so" | grep -v ' [TA] .*MEMCTL_')" ]
}

@test "the static library has the same names and no others" {
	command -v nm >/dev/null || skip "no nm"
	is=$(nm -g --defined-only "$build/memctl/libmemctl.a" | sed -n 's/.* [A-Z] //p' | sort)
	[ "$is" = "$(sed -n 's/^\t\t\(memctl_[a-z_]*\);/\1/p' "$top/memctl/libmemctl.sym" | sort)" ]
}
