"""Arithmetic, math functions, text and containers of python3: prints much, so that one wrong bit shows."""
import array, bisect, cmath, collections, decimal, fractions, functools, hashlib, heapq, itertools, json, math
import random, re, statistics, string, struct, sys, textwrap, zlib

LCG = 88172645463325252


def word():
    """xorshift64: the same numbers everywhere without the random module."""
    global LCG
    LCG ^= LCG << 13 & (1 << 64) - 1
    LCG ^= LCG >> 7
    LCG ^= LCG << 17 & (1 << 64) - 1
    return LCG


def big(bits):
    return int.from_bytes(b"".join(struct.pack("<Q", word()) for _ in range(bits // 64)), "little")


def integers():
    print(math.factorial(400), 3**1000, pow(7, 10**40, 10**50 + 151), math.isqrt(10**101))
    for bits in (64, 128, 192, 1024, 4096):
        a, b, c = big(bits), big(bits // 2) | 1, big(bits) | 1
        print(a * c, a // b, a % b, -a // b, -a % b, divmod(c, -b), a ^ c, a & -c, a | c, ~a >> 13, a << 77)
        print(math.gcd(a, c), pow(a, 65537, c), pow(b, -1, c) if math.gcd(b, c) == 1 else 0, a.bit_length(), a.bit_count(), hash(a), a / c, hex(c))
    fib = functools.reduce(lambda x, _: (x[1], sum(x)), range(3000), (0, 1))[0]
    print(fib, int(str(fib)) == fib, fractions.Fraction(fib, 3**200).limit_denominator(10**9))


def floats():
    values = [struct.unpack("<d", struct.pack("<Q", word()))[0] for _ in range(60)]
    values += [(word() >> 11) / 2**53 * s for s in (1, -1, 10, 1e3, -1e6, 1e10, 1e22) for _ in range(4)]
    values += [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.5, 1.0]
    one = "sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh exp expm1 log log2 log10 log1p sqrt cbrt exp2 erf erfc gamma lgamma floor ceil trunc frexp modf ulp fabs degrees".split()
    for value in values:
        print(repr(value), value.hex(), "%.20g %.3e %r" % (value, value, value * 1.1), round(value, 3), value == value and abs(value) < 1e30 and int(value))
        for name in one:
            try:
                print(name, repr(getattr(math, name)(value)))
            except (ValueError, OverflowError) as error:
                print(name, error)
    for x, y in itertools.product(values[::9], repeat=2):
        for operation in (math.fmod, math.remainder, math.pow, math.atan2, math.hypot, math.copysign, math.nextafter, math.dist, divmod):
            try:
                print(operation((x,), (y,)) if operation is math.dist else operation(x, y), x + y, x - y, x * y, x < y)
            except (ValueError, OverflowError, ZeroDivisionError) as error:
                print(error)
    finite = [v for v in values if abs(v) < 1e100]
    print(math.fsum(finite), sum(finite), statistics.fmean(finite), statistics.pstdev(finite), sorted(finite))
    for z in (1 + 2j, -0.5 + 3j, 1e-10j, -2 + 0j):
        print(cmath.sqrt(z), cmath.exp(z), cmath.log(z), cmath.sin(z), cmath.atanh(z), z**2.5, abs(z), z / (3 - 1j))
    for text in "0.1 1e23 8.41e21 123456789012345678901234567890 4.9e-324 2.4703282292062328e-324 1.7976931348623159e308 9007199254740993 5e-325".split():
        print(text, repr(float(text)), float(text).as_integer_ratio() if float(text) < 1e300 else "")


def decimals():
    decimal.getcontext().prec = 60
    d = decimal.Decimal
    print(d(2).sqrt(), d(1) / d(7), d("1.1") ** 50, d(10).ln(), d(3).exp(), d("123.456").quantize(d("0.1")), d(-7) // d(2), d(-7) % d(2))


def text(path):
    content = open(path).read()
    words = re.findall(r"[a-z]+", content)
    print(len(words), collections.Counter(words).most_common(10), sorted(set(words), key=lambda w: (len(w), w[::-1]))[:20])
    print(len(re.findall(r"\b(\w)\w*\1\b", content)), re.sub(r"(?i)([aeiou])(\w)", r"\2\1", content)[:200], [m.span() for m in re.finditer(r"(?:ab|cd)+e?", content)][:10])
    print(content[:500].upper().split()[:5], content.count("e"), content.find("zq"), zlib.crc32(content.encode()), zlib.adler32(content.encode()))
    print(textwrap.fill(content[:300], 40), "ünïcödé ß Σ".upper().encode(), "ǆ".title().encode(), "%-10s|%+05d|%#x" % ("ab", 42, 255), f"{1234567.891:,.2f} {0.000012345:g} {255:#010b} {'x':^7}")
    tree = {w: {"n": i, "f": i / 7, "l": [i, None, True, "é"]} for i, w in enumerate(words[:300])}
    encoded = json.dumps(tree, sort_keys=True)
    print(hashlib.sha256(encoded.encode()).hexdigest(), json.loads(encoded) == tree, json.dumps(json.loads("[1e400, -0.0, 1E5, \"\\ud83d\\ude00\"]")))
    packed = zlib.compress(content.encode(), 6)
    print(len(packed), hashlib.sha256(packed).hexdigest(), zlib.decompress(packed).decode() == content)


def containers():
    random.seed(1234)
    numbers = [random.random() for _ in range(2000)]
    print(numbers[:5], random.gauss(0, 1), random.randrange(10**30), random.choices(string.ascii_letters, k=20), random.expovariate(2), random.betavariate(2, 3))
    for sample in (sorted(numbers), sorted(numbers, reverse=True), heapq.nsmallest(50, numbers), list(itertools.accumulate(numbers))):
        print(hashlib.md5(repr(sample).encode()).hexdigest())
    print(bisect.bisect(sorted(numbers), 0.5), len({n: i for i, n in enumerate(numbers)}), sum(array.array("f", numbers)), hashlib.sha1(array.array("f", numbers)).hexdigest())
    print(struct.pack(">efdqHb", 1.1, 2.2, 3.3, -4, 5, -6).hex(), struct.unpack("<3e", bytes(range(6))), [hash(x) for x in (1.5, 2**61, -1, 10**30, math.inf)])

    class Node:
        def __init__(self, value):
            self.value, self.children = value, []

    def depth(n):
        return 1 if n == 0 else 1 + depth(n - 1)

    nodes = [Node(i) for i in range(2000)]
    for i, node in enumerate(nodes[1:], 1):
        nodes[i // 3].children.append(node)

    def total(node):
        return node.value + sum(map(total, node.children))

    print(total(nodes[0]), depth(800), sum(i * i % 7 for i in range(20000)))
    try:
        depth(10**6)
    except RecursionError as error:
        print(error)


integers()
floats()
decimals()
text(sys.argv[1])
containers()
