import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RegisterFile } from "../register-file.ts";
import { Reg } from "../registers.ts";
import { FlatMemory } from "./fake-cpu.ts";
import { Access, PagingMode, Translation, walk } from "./paging.ts";

const TABLES = [0, 0x4000, 0x3000, 0x2000, 0x1000]; // by level
const VA = 0xffff_8123_4567_89abn;
const indexOf = (level: number): number => Number((VA >> BigInt(12 + 9 * (level - 1))) & 511n);
const entryAt = (level: number): number => TABLES[level]! + 8 * indexOf(level);

interface Setup {
  cr0?: bigint;
  cr4?: bigint;
  efer?: bigint;
  /** Entries by level, 4 down to the leaf. */
  entries: readonly bigint[];
}

function build({ cr0 = 0x8001_0001n, cr4 = 0x20n, efer = 0xd00n, entries }: Setup) {
  const memory = new FlatMemory(0x6000);
  entries.forEach((entry, i) => memory.view.setBigUint64(entryAt(4 - i), entry, true));
  const regs = new RegisterFile(new ArrayBuffer(Reg.SIZE));
  regs.set64(Reg.CR0, cr0);
  regs.set64(Reg.CR3, 0x1000n | 0x7n); // a PCID is no part of the address
  regs.set64(Reg.CR4, cr4);
  regs.set64(Reg.EFER, efer);
  const mode = new PagingMode();
  mode.update(regs);
  return { memory, mode };
}

function run(
  setup: ReturnType<typeof build>,
  access: Access,
  user: boolean,
  ac = false,
): { ok: boolean; t: Translation } {
  const t = new Translation();
  const ok = walk(setup.memory, setup.mode, Number(VA >> 32n), Number(VA & 0xffff_ffffn), access, user, ac, t);
  return { ok, t };
}

const tableEntry = (level: number, bits: bigint): bigint => BigInt(TABLES[level - 1]!) | bits;
const FULL = 7n;
/** Entries down to a leaf at `level` with the given leaf bits. */
const path = (level: number, leaf: bigint, upper = FULL): bigint[] => [
  ...[4, 3, 2].filter((l) => l > level).map((l) => tableEntry(l, upper)),
  leaf,
];

/** The manual's rules as sentences (SDM vol. 3A §4.6.1), on the combined rights. */
function allowed(a: {
  write: boolean;
  fetch: boolean;
  user: boolean;
  rw: boolean;
  us: boolean;
  xd: boolean;
  wp: boolean;
  smep: boolean;
  smap: boolean;
  ac: boolean;
}): boolean {
  if (!a.user) {
    if (a.fetch) return a.us ? !a.smep && !a.xd : !a.xd;
    if (a.us && a.smap && !a.ac) return false;
    return a.write ? a.rw || !a.wp : true;
  }
  if (!a.us) return false;
  if (a.fetch) return !a.xd;
  return a.write ? a.rw : true;
}

test("rights: every combination of U/S, R/W, XD at two levels, WP, SMEP, SMAP, NXE, AC, privilege and access", () => {
  let cases = 0;
  const bits = (n: number, at: number): boolean => ((n >> at) & 1) === 1;
  for (let n = 0; n < 1 << 14; n++) {
    const [rw1, us1, xd1, rw2, us2, xd2] = [0, 1, 2, 3, 4, 5].map((at) => bits(n, at));
    const [wp, smep, smap, nxe, ac, user] = [6, 7, 8, 9, 10, 11].map((at) => bits(n, at));
    const access = [Access.READ, Access.WRITE, Access.FETCH][n >> 12];
    if (access === undefined || (!nxe && (xd1 || xd2))) continue;
    const entry = (rw: boolean, us: boolean, xd: boolean): bigint =>
      1n | (rw ? 2n : 0n) | (us ? 4n : 0n) | (xd ? 1n << 63n : 0n);
    const setup = build({
      cr0: wp ? 0x8001_0001n : 0x8000_0001n,
      cr4: 0x20n | (smep ? 1n << 20n : 0n) | (smap ? 1n << 21n : 0n),
      efer: nxe ? 0xd00n : 0x500n,
      entries: [
        tableEntry(4, FULL),
        tableEntry(3, FULL),
        tableEntry(2, entry(rw1!, us1!, xd1!)),
        0x5000n | entry(rw2!, us2!, xd2!),
      ],
    });
    const { ok, t } = run(setup, access, user!, ac!);
    const rights = { rw: rw1! && rw2!, us: us1! && us2!, xd: xd1! || xd2!, wp: wp!, smep: smep!, smap: smap!, ac: ac! };
    const expected = allowed({
      ...rights,
      write: access === Access.WRITE,
      fetch: access === Access.FETCH,
      user: user!,
    });
    assert.equal(ok, expected, JSON.stringify({ ...rights, access, user }));
    if (ok) assert.deepEqual([t.writable, t.user, t.nx], [rights.rw, rights.us, rights.xd]);
    else
      assert.equal(
        t.errorCode,
        1 | (access === Access.WRITE ? 2 : 0) | (user ? 4 : 0) | (access === Access.FETCH && (nxe || smep) ? 16 : 0),
      );
    cases++;
  }
  assert.ok(cases > 5000);
});

test("addresses of 4-KiB, 2-MiB and 1-GiB pages", () => {
  const high = 0x2a_1234_0000_0000n; // beyond 46 bits once, so masked per case below
  const frame = high & 0x3fff_ffff_ffffn;
  const offset = (size: bigint): bigint => VA & (size - 1n);
  for (const [level, size] of [
    [1, 1n << 12n],
    [2, 1n << 21n],
    [3, 1n << 30n],
  ] as const) {
    const base = (frame | 0x3f_c000_0000n) & -size & 0x3fff_ffff_ffffn;
    const { ok, t } = run(build({ entries: path(level, base | 0x107n | (level > 1 ? 0x80n : 0n)) }), Access.READ, true);
    assert.ok(ok);
    assert.deepEqual([t.gpa, t.pageSize, t.global, t.dirty], [Number(base + offset(size)), Number(size), true, false]);
  }
});

test("an entry that is not present ends the walk at its level, whatever its other bits", () => {
  for (let level = 4; level >= 1; level--) {
    const entries = [4, 3, 2, 1]
      .filter((l) => l >= level)
      .map((l) => (l === level ? ~1n & 0xffff_ffff_ffff_ffffn : tableEntry(l, FULL)));
    const { ok, t } = run(build({ entries }), Access.WRITE, true);
    assert.deepEqual([ok, t.errorCode], [false, 6]);
  }
});

test("reserved bits: each one at each level, and no other", () => {
  const reserved = (level: number, leaf: boolean, bit: number, nxe: boolean): boolean => {
    if (bit === 63) return !nxe;
    if (bit >= 46 && bit <= 51) return true;
    if (bit === 7) return level === 4;
    if (leaf && level === 3) return bit >= 13 && bit <= 29;
    return leaf && level === 2 && bit >= 13 && bit <= 20;
  };
  for (const leafLevel of [1, 2, 3])
    for (let level = 4; level >= leafLevel; level--)
      for (const nxe of [false, true])
        for (let bit = 5; bit < 64; bit++) {
          const leaf = level === leafLevel;
          // A flipped address bit of a table leads elsewhere; only bits that are no address are tried there.
          if (!leaf && ((bit === 7 && level !== 4) || (bit >= 12 && bit < 46))) continue;
          const entries = path(leafLevel, FULL | (leafLevel > 1 ? 0x80n : 0n));
          entries[4 - level]! |= 1n << BigInt(bit);
          const { ok, t } = run(build({ entries, efer: nxe ? 0xd00n : 0x500n }), Access.READ, true);
          const expected = reserved(level, leaf, bit, nxe);
          assert.equal(ok, !expected, `leaf ${leafLevel} level ${level} bit ${bit} nxe ${nxe}`);
          if (!ok) assert.equal(t.errorCode, 1 | 4 | 8);
        }
});

test("tables outside memory fault with RSVD instead of leaving it", () => {
  const { ok, t } = run(build({ entries: [0x7fff_f000n | FULL] }), Access.READ, false);
  assert.deepEqual([ok, t.errorCode], [false, 9]);
});

test("accessed in every entry used, dirty only in the last and only for writes; nothing after a fault", () => {
  const setup = build({ entries: path(1, 0x5000n | FULL) });
  const used = (): bigint[] =>
    [4, 3, 2, 1].map((level) => setup.memory.view.getBigUint64(entryAt(level), true) & 0x60n);
  const readOnly = build({ entries: path(1, 0x5000n | 5n) });
  assert.equal(run(readOnly, Access.WRITE, true).ok, false);
  assert.equal(readOnly.memory.view.getBigUint64(entryAt(4), true) & 0x60n, 0n);
  assert.equal(run(setup, Access.READ, true).t.dirty, false);
  assert.deepEqual(used(), [0x20n, 0x20n, 0x20n, 0x20n]);
  assert.equal(run(setup, Access.WRITE, true).t.dirty, true);
  assert.deepEqual(used(), [0x20n, 0x20n, 0x20n, 0x60n]);
  assert.equal(run(setup, Access.READ, true).t.dirty, true);
});

test("an entry that another processor unmaps during the walk is not marked, and the walk faults", () => {
  const setup = build({ entries: path(1, 0x5000n | FULL) });
  let exchanges = 0;
  setup.memory.beforeExchange = () => {
    if (++exchanges === 4) setup.memory.view.setBigUint64(entryAt(1), 0n, true);
  };
  const { ok, t } = run(setup, Access.WRITE, true);
  assert.deepEqual([ok, t.errorCode], [false, 6]);
  assert.equal(setup.memory.view.getBigUint64(entryAt(1), true), 0n);
});

test("halves of two different entries never make a translation", () => {
  const setup = build({ entries: path(1, 0x1_0000_5000n | FULL | 0x60n) });
  const plain = setup.memory.readHigh.bind(setup.memory);
  setup.memory.readHigh = (gpa) => {
    if (gpa === entryAt(1)) setup.memory.view.setBigUint64(gpa, 0x2_0000_9000n | FULL | 0x60n, true); // changes between the two reads
    return plain(gpa);
  };
  assert.equal(run(setup, Access.READ, true).t.gpa, 0x2_0000_99ab);
});

test("random entries: the walk ends, and agrees with a bigint formulation of addresses", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: (1n << 46n) - 1n }), fc.integer({ min: 1, max: 3 }), (address, level) => {
      const size = 1n << BigInt(12 + 9 * (level - 1));
      const leaf = (address & -size) | FULL | (level > 1 ? 0x80n : 0n);
      const { ok, t } = run(build({ entries: path(level, leaf) }), Access.FETCH, true);
      assert.ok(ok);
      assert.equal(BigInt(t.gpa), (address & -size) | (VA & (size - 1n)));
    }),
  );
});
