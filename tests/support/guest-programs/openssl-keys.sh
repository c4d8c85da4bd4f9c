head -c 4096 "$INPUTS/data.bin" >message
for key in rsa ec ed25519; do
	case $key in
	ed25519) openssl pkeyutl -sign -rawin -in message -inkey "$INPUTS/$key.pem" -out signature ;;
	*) openssl dgst -sha256 -sign "$INPUTS/$key.pem" -out signature message ;;
	esac
	# ECDSA signatures hold a random number; the others are the same each time.
	[ $key = ec ] || openssl dgst -sha256 signature
	openssl pkey -in "$INPUTS/$key.pem" -pubout -out public.pem
	cat public.pem
	if [ $key = ed25519 ]; then
		openssl pkeyutl -verify -rawin -pubin -inkey public.pem -in message -sigfile signature
	else
		openssl dgst -sha256 -verify public.pem -signature signature message
		OPENSSL_ia32cap=0x0 openssl dgst -sha256 -verify public.pem -signature signature message
		echo x >>message
		openssl dgst -sha256 -verify public.pem -signature signature message 2>/dev/null
	fi
done
openssl prime -hex 7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed
openssl x509 -in "$INPUTS/certificate.pem" -noout -text -fingerprint -sha256
openssl verify -no_check_time -CAfile "$INPUTS/certificate.pem" "$INPUTS/certificate.pem" | sed 's/.*: //'
