[ -x "$INPUTS/c-program" ] || exit 0
for part in $("$INPUTS/c-program"); do
	[ "$part" != long-double-functions ] || continue
	echo "== $part"
	"$INPUTS/c-program" "$part"
	echo "status $?"
done
