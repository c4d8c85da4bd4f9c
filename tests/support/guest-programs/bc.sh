bc -l <<'EOF'
scale = 150
4 * a(1)
e(1)
l(2)
s(1) + c(2) + j(2, 3)
sqrt(2)
scale = 20
for (i = -5; i < 6; i++) e(i * 1.37) / (i + 0.5)
define f(n) { if (n < 2) return (1); return (n * f(n - 1)); }
f(120)
2 ^ 2000 % 10 ^ 50
f(60) / 7 ^ 30
obase = 16
f(50)
ibase = 2
110101011101 * 1111111
EOF
