for input in data.bin text.txt; do
	for program in "gzip -n -1" "gzip -n -9" "xz -0" "xz --check=sha256 --x86 --lzma2=preset=1,dict=256KiB" "zstd -q -1" "zstd -q -5"; do
		echo "$program $input"
		$program -c <"$INPUTS/$input" >packed
		wc -c <packed
		sha256sum <packed
		${program%% *} -dc <packed | busybox cmp - "$INPUTS/$input" && echo same
	done
done
busybox gzip -c <"$INPUTS/text.txt" | gzip -dc | busybox cmp - "$INPUTS/text.txt" && echo same
tar -C "$INPUTS" --sort=name --mtime=@0 --owner=0 --group=0 --mode=644 -cf - data.bin text.txt | sha256sum
head -c 100000 packed | zstd -dc 2>&1 >/dev/null | sed 's/.*: //' | tail -n 1
