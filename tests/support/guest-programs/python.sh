python3 "$INPUTS/program.py" "$INPUTS/text.txt"
