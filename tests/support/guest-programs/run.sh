#!/bin/sh
# Runs the programs beside this script (or those that are named), each in an empty directory of its own.
# usage: run.sh INPUTS OUTPUTS [NAME…]; leaves OUTPUTS/NAME.out (both streams) and NAME.status. The same in the guest and on the host.
export LC_ALL=C TZ=UTC INPUTS="$1" OUTPUTS="$2"
programs=$(cd "$(dirname "$0")" && pwd)
shift 2
[ $# -gt 0 ] || set -- $(cd "$programs" && ls *.sh | sed '/^run\.sh$/d; s/\.sh$//')
for name in "$@"; do
	echo "$name"
	mkdir "$OUTPUTS/$name.work" && cd "$OUTPUTS/$name.work" || exit 1
	# As text, so that messages have no path of the script in them.
	sh -c "$(cat "$programs/$name.sh")" "$name" >"$OUTPUTS/$name.out" 2>&1 </dev/null
	echo $? >"$OUTPUTS/$name.status"
	cd "$OUTPUTS" && rm -r "$OUTPUTS/$name.work"
done
