#compdef memctl
# SPDX-License-Identifier: MIT
# zsh completion of memctl: what can be completed is asked from memctl itself. Starts no daemon.

_memctl_runs() { memctl daemon status &>/dev/null }

_memctl_groups() {
	local -a groups
	_memctl_runs && groups=(/ ${(f)"$(memctl ls -R -f group --no-header 2>/dev/null)"})
	compadd "$@" -a groups
}

_memctl_keys() { # SUFFIX
	local -a keys
	_memctl_runs && keys=(${(f)"$(memctl get -f key / 2>/dev/null)"})
	compadd -S "${1- }" -a keys
}

_memctl_options() {
	local -a options
	options=(${(f)"$(memctl $words[2] --help 2>/dev/null | grep -o -e '--[a-z][a-z-]*')"})
	compadd -a options
}

_memctl() {
	local -a names
	if ((CURRENT == 2)); then
		names=(${(f)"$(memctl help --names 2>/dev/null)"})
		compadd -a names
		return
	fi
	case $words[2]:$words[CURRENT-1] in
	run:-g | run:--group) _memctl_groups && return ;;
	move:-c | move:--charges) compadd anon file anon,file && return ;;
	*:-o | *:--output)
		if [[ $words[2] == plot ]]; then _files; else compadd table json jsonl csv openmetrics; fi
		return ;;
	esac
	if [[ $words[CURRENT] == -* ]]; then
		_memctl_options
		return
	fi
	case $words[2] in
	run)
		shift 2 words
		((CURRENT -= 2))
		_normal ;;
	doctor) _command_names -e; _files ;;
	daemon) compadd start stop status ;;
	help)
		names=(${(f)"$(memctl help --names 2>/dev/null)"})
		compadd -a names ;;
	top | export | version) ;;
	get) if ((CURRENT == 3)); then _memctl_groups; else _memctl_keys; fi ;;
	set | create) if ((CURRENT == 3)); then _memctl_groups; else _memctl_keys '='; fi ;;
	move)
		if ((CURRENT == 3)); then
			_memctl_runs && names=(${(f)"$(memctl ps -f pid --no-header 2>/dev/null)"})
			compadd -a names
		else
			_memctl_groups
		fi ;;
	watch)
		if ((CURRENT == 3)); then
			_memctl_groups
		else
			compadd oom events history removed
			compadd -S '' usage: pressure: stall: memsw: dmem: dmem-pressure:
		fi ;;
	*) _memctl_groups ;;
	esac
}

_memctl "$@"
