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
openssl prime -hex ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece65381ffffffffffffffff
openssl x509 -in "$INPUTS/certificate.pem" -noout -text -fingerprint -sha256
openssl verify -no_check_time -CAfile "$INPUTS/certificate.pem" "$INPUTS/certificate.pem" | sed 's/.*: //'
