sqlite3 data.db <<'EOF'
PRAGMA journal_mode = WAL;
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price REAL, quantity INTEGER, parent INTEGER REFERENCES item);
BEGIN;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
INSERT INTO item SELECT i, hex(i * 7919 % 10007) || '-' || printf('%08x', i * 2654435761 % 4294967296), (i * 31 % 997) / 7.0, i * i % 1013, nullif(i / 3, 0) FROM n;
COMMIT;
CREATE INDEX item_name ON item (name);
CREATE INDEX item_parent ON item (parent, price DESC);
SELECT count(*), sum(price), avg(price), min(name), max(name), total(quantity), group_concat(quantity % 3, '') FROM item WHERE id % 97 = 0;
SELECT quantity % 10 AS bucket, count(*), round(avg(price), 9), sum(price * quantity) FROM item GROUP BY bucket ORDER BY 4 DESC;
SELECT a.id, b.name, c.price FROM item a JOIN item b ON a.parent = b.id JOIN item c ON b.parent = c.id WHERE a.price > c.price ORDER BY a.price - c.price DESC, a.id LIMIT 15;
SELECT id, price, rank() OVER (PARTITION BY quantity % 5 ORDER BY price DESC, id), sum(price) OVER (ORDER BY id ROWS 3 PRECEDING) FROM item ORDER BY id LIMIT 20;
UPDATE item SET price = price * 1.1 + sqrt(quantity) WHERE id % 2;
DELETE FROM item WHERE name LIKE '%a%b%';
SELECT count(*), sum(price), typeof(sum(quantity)) FROM item;
SELECT json_extract('{"a": [1, 2.5, {"b": 1e300}]}', '$.a[2].b'), json_group_array(id) FROM (SELECT id FROM item ORDER BY price LIMIT 5);
SELECT sin(1), exp(10), pow(2, 0.5), log(10), 1e15 / 3, 0.1 + 0.2, 9223372036854775807 + 1, cast('1e400' AS REAL), 5 / 2, -5 % 3, 1.0 / 0;
SELECT julianday('2024-02-29 12:34:56'), datetime(1234567890, 'unixepoch', '+1 month'), strftime('%s %j %W', '2023-12-31');
VACUUM;
PRAGMA integrity_check;
EOF
sqlite3 data.db .dump | sha256sum
sqlite3 data.db '.mode json' 'SELECT * FROM item ORDER BY name LIMIT 3;' '.sha3sum'
