"""Signatures by libcrypto's EVP interface: `python3 - rsa|ecdsa SCALE`. The keys are made of known numbers, since random ones would give each engine other
work: RSA 2048 of two primes just below 2**1024, and P-256 with a secret that is none."""
import ctypes
import hashlib
import sys

crypto = ctypes.CDLL("libcrypto.so.3")
for name in ("d2i_AutoPrivateKey", "EVP_MD_CTX_new", "EVP_sha256"):
    getattr(crypto, name).restype = ctypes.c_void_p
POINTER, SIZE = ctypes.c_void_p, ctypes.c_size_t
SHA256 = POINTER(crypto.EVP_sha256())
MESSAGE = b"The quick brown fox jumps over the lazy dog. " * 8


def tagged(tag, body):
    """One DER element."""
    size = len(body)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + body


def integer(value):
    return tagged(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def rsa_key():
    p, q, e = 2**1024 - 105, 2**1024 - 179, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    return tagged(0x30, b"".join(map(integer, (0, p * q, e, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p)))))


def ecdsa_key():
    curve = tagged(6, bytes.fromhex("2a8648ce3d030107"))  # prime256v1
    return tagged(0x30, integer(1) + tagged(4, bytes(range(1, 33))) + tagged(0xA0, curve))


def load(der):
    key = crypto.d2i_AutoPrivateKey(None, ctypes.byref(ctypes.c_char_p(der)), ctypes.c_long(len(der)))
    assert key, "libcrypto does not take the key"
    return POINTER(key)


def sign(key):
    context, size = POINTER(crypto.EVP_MD_CTX_new()), SIZE(512)
    signature = ctypes.create_string_buffer(512)
    assert crypto.EVP_DigestSignInit(context, None, SHA256, None, key) == 1
    assert crypto.EVP_DigestSign(context, signature, ctypes.byref(size), MESSAGE, SIZE(len(MESSAGE))) == 1
    crypto.EVP_MD_CTX_free(context)
    return signature.raw[: size.value]


def verify(key, signature):
    context = POINTER(crypto.EVP_MD_CTX_new())
    assert crypto.EVP_DigestVerifyInit(context, None, SHA256, None, key) == 1
    good = crypto.EVP_DigestVerify(context, signature, SIZE(len(signature)), MESSAGE, SIZE(len(MESSAGE)))
    crypto.EVP_MD_CTX_free(context)
    return good == 1


kind, scale = sys.argv[1], int(sys.argv[2])
key = load(rsa_key() if kind == "rsa" else ecdsa_key())
signs, verifies = (32 * scale // 100 + 1, 600 * scale // 100) if kind == "rsa" else (300 * scale // 100 + 1, 150 * scale // 100)
signatures = [sign(key) for _ in range(signs)]
verified = sum(verify(key, signatures[i % signs]) for i in range(verifies))
broken = verify(key, signatures[0][:-1] + bytes([signatures[0][-1] ^ 1]))
# ECDSA signatures hold a random number; RSA's are always the same.
digest = hashlib.sha256(b"".join(signatures)).hexdigest() if kind == "rsa" else ""
print(signs, verified, broken, digest)
