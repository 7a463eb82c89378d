# SPDX-License-Identifier: MIT
# bash completion of memctl: what can be completed is asked from memctl itself. Starts no daemon.

_memctl_groups() {
	memctl daemon status >/dev/null 2>&1 && memctl ls -R -f group --no-header 2>/dev/null
}

_memctl_keys() {
	memctl daemon status >/dev/null 2>&1 && memctl get -f key / 2>/dev/null
}

# The options of a command, as its --help has them.
_memctl_options() {
	memctl "$1" --help 2>/dev/null | grep -o -e '--[a-z][a-z-]*'
}

_memctl_words() { # COMMAND CURRENT PREVIOUS
	case $1:$2:$3 in
	plot:*:-o | plot:*:--file) compgen -f -- "$2" ;;
	*:*:-o | *:*:--output) echo table json jsonl csv openmetrics ;;
	run:*:-g | run:*:--group) _memctl_groups ;;
	*:-*:*) _memctl_options "$1" ;;
	daemon:*) echo start stop status ;;
	move:*:-c | move:*:--charges) echo anon file anon,file ;;
	move:*:move) memctl daemon status >/dev/null 2>&1 && memctl ps -f pid --no-header 2>/dev/null ;;
	help:*) memctl help --names ;;
	top:* | export:* | version:*) ;;
	doctor:*) compgen -c -- "$2" ;;
	watch:*:watch) _memctl_groups ;;
	watch:*:--exec | watch:*:--count | watch:*:--timeout) ;;
	watch:*::) echo low medium critical some: full: ;;
	watch:*) echo usage: memsw: pressure: oom events history stall: removed dmem: dmem-pressure: ;;
	get:*:get | set:*:set) _memctl_groups ;;
	get:*) _memctl_keys ;;
	set:*) _memctl_keys | sed 's/$/=/' ;;
	*) _memctl_groups ;;
	esac
}

# Behind `memctl run` and its options stands any command with its arguments.
_memctl_command_at() {
	local i
	for ((i = 2; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--) echo $((i + 1)) && return ;;
		-g | --group | --max | --high | --low | --min | --soft | --set | --oom | --need | --swap-max) ((i++)) ;;
		-*) ;;
		*) echo "$i" && return ;;
		esac
	done
	echo "$COMP_CWORD"
}

_memctl() {
	local command=${COMP_WORDS[1]} current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W "$(memctl help --names 2>/dev/null)" -- "$current")
		return
	fi
	if [[ $command == run && $current != -* && $previous != -* ]]; then
		if declare -F _command_offset >/dev/null; then
			_command_offset "$(_memctl_command_at)"
		else
			mapfile -t COMPREPLY < <(compgen -c -- "$current")
		fi
		return
	fi
	[[ $current == : ]] && current='' previous=: # bash makes a word of each colon
	mapfile -t COMPREPLY < <(compgen -W "$(_memctl_words "$command" "$current" "$previous")" -- "$current")
	[[ ${COMPREPLY[0]-} == *[=:] ]] && compopt -o nospace 2>/dev/null
	return 0
}

complete -o default -F _memctl memctl
