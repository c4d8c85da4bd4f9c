for digest in md5 sha1 sha224 sha256 sha384 sha512 sha512-256 sha3-256 sha3-512 blake2b512 blake2s256 ripemd160 sm3 shake256; do
	openssl dgst "-$digest" "$INPUTS/data.bin" | sed 's/.*= //'
	head -c 1021 "$INPUTS/data.bin" | openssl dgst "-$digest"
done
openssl dgst -sha256 -hmac key "$INPUTS/data.bin" | sed 's/.*= //'
openssl mac -cipher AES-256-CBC -macopt hexkey:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f -in "$INPUTS/data.bin" CMAC
openssl mac -macopt hexkey:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f -in "$INPUTS/data.bin" Poly1305
# Other code paths: without SSSE3, SSE4.1, BMI and ADX.
for capabilities in "~0x20020000000000" "~0x8020020000000000:~0x80108" "0x0"; do
	for digest in md5 sha1 sha256 sha512; do
		OPENSSL_ia32cap="$capabilities" openssl dgst "-$digest" "$INPUTS/data.bin" | sed 's/.*= //'
	done
done
sha256sum <"$INPUTS/data.bin"
sha512sum <"$INPUTS/data.bin"
md5sum <"$INPUTS/data.bin"
b2sum <"$INPUTS/data.bin"
cksum <"$INPUTS/data.bin"
sum <"$INPUTS/data.bin"
