perl "$INPUTS/program.pl" "$INPUTS/text.txt"
