# SPDX-License-Identifier: MIT
# fish completion of memctl: what can be completed is asked from memctl itself. Starts no daemon.

function __memctl_groups
	memctl daemon status >/dev/null 2>&1; or return
	echo /
	memctl ls -R -f group --no-header 2>/dev/null
end

function __memctl_keys
	memctl daemon status >/dev/null 2>&1; and memctl get -f key / 2>/dev/null
end

function __memctl_pids
	memctl daemon status >/dev/null 2>&1; and memctl ps -f pid,comm --no-header 2>/dev/null | string replace -r ' +' \t
end

function __memctl_options
	set -l words (commandline -opc)
	test (count $words) -ge 2; and memctl $words[2] --help 2>/dev/null | string match -ra -- '--[a-z][a-z-]*'
end

# The command is one of these, and so many words stand behind it.
function __memctl_at # COUNT COMMAND...
	set -l words (commandline -opc)
	test (count $words) -ge 2; and contains -- $words[2] $argv[2..]; or return 1
	set -l rest (string match -v -- '-*' $words[3..])
	test $argv[1] = any; or test (count $rest) -eq $argv[1]; or begin
		test $argv[1] = more; and test (count $rest) -gt 0
	end
end

complete -c memctl -f
complete -c memctl -n 'test (count (commandline -opc)) -eq 1' -a '(memctl help --names 2>/dev/null)'
complete -c memctl -n 'string match -q -- "-*" (commandline -ct)' -a '(__memctl_options)'
complete -c memctl -n '__memctl_at 0 get set create rm ls tree stat ps kill reclaim watch plot events' -a '(__memctl_groups)'
complete -c memctl -n '__memctl_at more rm' -a '(__memctl_groups)'
complete -c memctl -n '__memctl_at more get' -a '(__memctl_keys)'
complete -c memctl -n '__memctl_at more set create' -a '(__memctl_keys)='
complete -c memctl -n '__memctl_at more watch' -a 'usage: memsw: pressure: stall: dmem: dmem-pressure: oom events history removed'
complete -c memctl -n '__memctl_at 0 move' -a '(__memctl_pids)'
complete -c memctl -n '__memctl_at 1 move' -a '(__memctl_groups)'
complete -c memctl -n '__memctl_at any daemon' -a 'start stop status'
complete -c memctl -n '__memctl_at any help' -a '(memctl help --names 2>/dev/null)'
complete -c memctl -n '__memctl_at 0 run' -a '(__fish_complete_subcommand)'
complete -c memctl -n '__memctl_at any run' -s g -l group -x -a '(__memctl_groups)'
complete -c memctl -n '__memctl_at 0 doctor' -a '(__fish_complete_command)'
complete -c memctl -n '__memctl_at any plot' -s o -l file -r -F
