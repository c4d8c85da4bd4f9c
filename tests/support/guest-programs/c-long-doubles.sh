# Apart, since its results are compared less strictly.
[ -x "$INPUTS/c-program" ] || exit 0
"$INPUTS/c-program" long-double-functions
