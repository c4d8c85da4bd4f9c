head -c 60001 "$INPUTS/data.bin" >message
key=000102030405060708090a0b0c0d0e0f
iv=f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff
for cipher in aes-128-cbc aes-192-cbc aes-256-cbc aes-256-ctr aes-128-ecb aes-256-ofb aes-128-cfb aes-128-cfb8 camellia-256-cbc aria-128-cbc sm4-cbc des-ede3-cbc chacha20; do
	echo "$cipher"
	openssl enc "-$cipher" -K "$key$key" -iv "$iv" -in message -out encrypted 2>/dev/null
	openssl dgst -sha256 encrypted
	openssl enc -d "-$cipher" -K "$key$key" -iv "$iv" -in encrypted -out decrypted 2>/dev/null
	busybox cmp decrypted message && echo same
done
for capabilities in "~0x20020000000000" "0x0"; do
	for cipher in aes-128-cbc aes-256-ctr chacha20; do
		OPENSSL_ia32cap="$capabilities" openssl enc "-$cipher" -K "$key$key" -iv "$iv" -in message 2>/dev/null | openssl dgst -sha256
	done
done
openssl enc -aes-256-cbc -pbkdf2 -iter 3000 -S 0011223344556677 -pass pass:secret -P
openssl kdf -keylen 32 -kdfopt digest:SHA2-512 -kdfopt pass:secret -kdfopt salt:salt -kdfopt iter:2000 PBKDF2
openssl kdf -keylen 32 -kdfopt pass:secret -kdfopt salt:salt -kdfopt n:1024 -kdfopt r:8 -kdfopt p:1 SCRYPT
