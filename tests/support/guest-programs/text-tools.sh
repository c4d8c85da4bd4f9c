sort "$INPUTS/text.txt" | sha256sum
sort -n -k 2 -t ' ' "$INPUTS/numbers.txt" | sha256sum
sort -g "$INPUTS/numbers.txt" | sha256sum
sort -h -r "$INPUTS/numbers.txt" | uniq -c | sha256sum
LC_ALL=C.UTF-8 sort -u -f "$INPUTS/text.txt" | sha256sum
tr ' ' '\n' <"$INPUTS/text.txt" | sort | uniq -c | sort -k 1nr -k 2 | head -n 20
grep -c -E '(ab|ba)+c.*[x-z]$' "$INPUTS/text.txt"
grep -o -w -i 'a[a-z]*e' "$INPUTS/text.txt" | sort | uniq -c | sort -k 1nr -k 2 | head -n 5
LC_ALL=C.UTF-8 grep -c -P '^\w+\s(?=\w{3})' "$INPUTS/text.txt"
sed -E 's/([a-z]+) ([a-z]+)/\2 \1/g; y/abc/xyz/' "$INPUTS/text.txt" | sha256sum
base64 "$INPUTS/data.bin" | sha256sum
base64 "$INPUTS/data.bin" | base64 -d | busybox cmp - "$INPUTS/data.bin" && echo same
od -A d -t fD -t fF -t fL -t x8 -N 1024 "$INPUTS/data.bin"
od -t d8 -t u4 -t o2 -t a -N 20000 "$INPUTS/data.bin" | sha256sum
factor 18446744073709551557 123456789012345678901234567890 2305843009213693951
seq 0 0.1 20 | paste -s
seq -f %.15g 1e15 333333333333333.3 3e15
printf '%.20g %a %e %x %o %d\n' 1.1 3.14159 1e-320 255 8 -7
numfmt --to=iec 123456789 999999999999 1
expr 123456789 '*' 987654321 / 7
date -u -d '@1234567890' '+%F %T %j %U %a'
date -u -d '2024-02-29 +1 year' +%s
sha256sum "$INPUTS"/*.txt | cut -c 1-64
cut -d ' ' -f 2,3 "$INPUTS/text.txt" | wc
find "$INPUTS" -type f -size +1k | sed 's/.*\///' | sort
bash -c 'declare -A n; for ((i = 0; i < 5000; i++)); do n[$((i * i % 97))]+=x; done; for k in "${!n[@]}"; do echo $k ${#n[$k]}; done | sort -n; echo $((2 ** 63)) $((-7 / 2)) $((-7 % 3)) $((1 << 62 >> 3))'
