import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Directory, type Inode, RegularFile, Special, Symlink } from "../ext4/nodes.ts";
import { LayerTree, type LayerOptions } from "./layer-tree.ts";
import { TarError } from "./tar-error.ts";
import { type TestEntry, archive } from "./test-archive.ts";
import { type TarEntry, TarReader } from "./tar-reader.ts";

type Layer = readonly TestEntry[];

function entriesOf(layer: Layer): TarEntry[] {
  const entries: TarEntry[] = [];
  const reader = new TarReader({ entry: (entry) => void entries.push(entry), data: () => {} });
  reader.push(archive(layer));
  return entries;
}

function merge(layers: readonly Layer[], options: LayerOptions = {}): LayerTree {
  const tree = new LayerTree((file) => void (file.sizeBytes = -1));
  for (const layer of layers) {
    tree.beginLayer(options);
    for (const entry of entriesOf(layer)) {
      const file = tree.add(entry);
      if (file !== undefined) file.sizeBytes = entry.sizeBytes;
    }
  }
  return tree;
}

/** A tree as sorted lines: path, and what is special about the inode. Files are told apart by their sizes. */
function listing(tree: LayerTree): string[] {
  const lines: string[] = [];
  const visit = (directory: Directory, prefix: string): void => {
    for (const [name, { inode }] of directory.entries) {
      lines.push(`${prefix}${name}${describeInode(inode)}`);
      if (inode instanceof Directory) visit(inode, `${prefix}${name}/`);
    }
  };
  visit(tree.root, "");
  return lines.sort();
}

function describeInode(inode: Inode): string {
  if (inode instanceof Directory) return "/";
  if (inode instanceof Symlink) return ` -> ${inode.target}`;
  if (inode instanceof RegularFile) return ` ${inode.sizeBytes}${inode.links > 1 ? ` x${inode.links}` : ""}`;
  return ` ${inode.type} ${inode.major}:${inode.minor}`;
}

function find(tree: LayerTree, path: string): Inode | undefined {
  let inode: Inode | undefined = tree.root;
  for (const name of path.split("/")) inode = inode instanceof Directory ? inode.entries.get(name)?.inode : undefined;
  return inode;
}

const file = (path: string, size: number): TestEntry => ({ path, data: "x".repeat(size) });
const directory = (path: string): TestEntry => ({ path: `${path}/` });
const link = (path: string, target: string): TestEntry => ({ path, type: "2", link: target });
const hardLink = (path: string, target: string): TestEntry => ({ path, type: "1", link: target });

describe("layers become one tree", () => {
  const cases: [string, Layer[], string[]][] = [
    ["a file replaces a file", [[file("a", 1)], [file("a", 2)]], ["a 2"]],
    ["a file replaces a directory", [[file("a/b/c", 1)], [file("a", 2)]], ["a 2"]],
    ["a directory replaces a file", [[file("a", 1)], [directory("a"), file("a/b", 2)]], ["a/", "a/b 2"]],
    ["a directory replaces a link to one", [[file("d/x", 1), link("a", "d")], [directory("a")]], ["a/", "d/", "d/x 1"]],
    ["directories are merged", [[file("a/b", 1)], [directory("a"), file("a/c", 2)]], ["a/", "a/b 1", "a/c 2"]],
    ["the last of two in one layer counts", [[file("a", 1), file("a", 2)]], ["a 2"]],
    ["missing parents are made", [[file("a/b/c", 1)]], ["a/", "a/b/", "a/b/c 1"]],
    [
      "absolute paths begin at the root",
      [[file("/a", 1), file("./b", 2), file("//c/./d//e", 3)]],
      ["a 1", "b 2", "c/", "c/d/", "c/d/e 3"],
    ],
    ["a whiteout hides a file", [[file("a", 1), file("b", 2)], [file(".wh.a", 0)]], ["b 2"]],
    ["a whiteout hides a directory with all", [[file("a/b/c", 1)], [file(".wh.a", 0)]], []],
    ["what is hidden may come again, before", [[file("a/b", 1)], [file("a/c", 2), file(".wh.a", 0)]], ["a/", "a/c 2"]],
    ["what is hidden may come again, after", [[file("a/b", 1)], [file(".wh.a", 0), file("a/c", 2)]], ["a/", "a/c 2"]],
    ["a whiteout spares its own layer", [[file("a", 1)], [file("a", 2), file(".wh.a", 0)]], ["a 2"]],
    [
      "an opaque directory hides what is below",
      [
        [file("a/b/c", 1), file("a/d", 2)],
        [file("a/.wh..wh..opq", 0), file("a/e", 3)],
      ],
      ["a/", "a/e 3"],
    ],
    [
      "also after its own entries",
      [
        [file("a/b/c", 1), file("a/d", 2)],
        [file("a/b/e", 3), file("a/.wh..wh..opq", 0)],
      ],
      ["a/", "a/b/", "a/b/e 3"],
    ],
    ["an opaque root hides all", [[file("a", 1)], [file("b", 2), file(".wh..wh..opq", 0)]], ["b 2"]],
    [
      "whiteouts of what is not there do nothing",
      [[file("a", 1)], [file(".wh.x", 0), file("y/.wh.z", 0), file("a/.wh.b", 0)]],
      ["a 1"],
    ],
    ["names of runtimes' own are left out", [[file(".wh..wh.plnk", 1), file(".wh..wh.aufs", 1)]], []],
    [
      "hard links share a file",
      [[file("a", 1), hardLink("b", "a"), hardLink("d/c", "./b")]],
      ["a 1 x3", "b 1 x3", "d/", "d/c 1 x3"],
    ],
    ["also one of a lower layer", [[file("d/a", 1)], [hardLink("b", "/d/a")]], ["b 1 x2", "d/", "d/a 1 x2"]],
    ["which stays when its target is replaced", [[file("a", 1), hardLink("b", "a")], [file("a", 2)]], ["a 2", "b 1"]],
    ["or hidden", [[file("a", 1)], [hardLink("b", "a"), file(".wh.a", 0)]], ["b 1"]],
    ["a hard link to itself does nothing", [[file("a", 1), hardLink("a", "a")]], ["a 1"]],
    ["a hard link over the directory that holds its target", [[file("a/b", 1), hardLink("a", "a/b")]], ["a 1"]],
    [
      "a hard link to a link is one to the link",
      [[file("f", 1), link("a", "f"), hardLink("b", "a")]],
      ["a -> f", "b -> f", "f 1"],
    ],
    [
      "a path goes through links within the root",
      [[directory("etc"), link("l", "/etc")], [file("l/passwd", 1)]],
      ["etc/", "etc/passwd 1", "l -> /etc"],
    ],
    [
      "and never out of it",
      [[link("l", "../../../etc")], [file("l/passwd", 1)]],
      ["etc/", "etc/passwd 1", "l -> ../../../etc"],
    ],
    [
      "links in links, with dots",
      [[directory("a/b"), link("a/x", "./b/../b"), link("y", "a/x")], [file("y/f", 1)]],
      ["a/", "a/b/", "a/b/f 1", "a/x -> ./b/../b", "y -> a/x"],
    ],
    ["a whiteout goes through links too", [[file("d/f", 1), link("l", "d")], [file("l/.wh.f", 0)]], ["d/", "l -> d"]],
    ["an entry replaces a link, not what it names", [[file("f", 1), link("l", "f")], [file("l", 2)]], ["f 1", "l 2"]],
    [
      "devices and pipes",
      [
        [
          { path: "c", type: "3", device: [1, 3] },
          { path: "b", type: "4", device: [259, 300] },
          { path: "p", type: "6" },
        ],
      ],
      ["b block-device 259:300", "c character-device 1:3", "p fifo 0:0"],
    ],
    ["names of 255 bytes", [[file("n".repeat(255), 1)]], [`${"n".repeat(255)} 1`]],
  ];
  for (const [name, layers, expected] of cases) test(name, () => assert.deepEqual(listing(merge(layers)), expected));

  test("a directory may leave a link to a directory, for packages", () => {
    const layers = [
      [file("usr/lib/a", 1), link("lib", "usr/lib"), link("gone", "nowhere")],
      [directory("lib"), file("lib/b", 2), directory("gone")],
    ];
    const expected = ["gone/", "lib -> usr/lib", "usr/", "usr/lib/", "usr/lib/a 1", "usr/lib/b 2"];
    assert.deepEqual(listing(merge(layers, { keepDirectoryLinks: true })), expected);
  });

  test("a directory's attributes are those of the last layer that has it, the root's too", () => {
    const tree = merge([
      [
        { path: "./", mode: 0o700, uid: 1 },
        { path: "d/", mode: 0o1777, pax: { "SCHILY.xattr.user.a": "1" } },
      ],
      [{ path: "d/", mode: 0o2750, gid: 4, mtime: 9 }],
      [file("d/f", 1)],
    ]);
    const { mode, gid, mtimeSeconds, xattrs } = find(tree, "d")!;
    assert.deepEqual([mode, gid, mtimeSeconds, xattrs], [0o2750, 4, 9, []]);
    assert.deepEqual([tree.root.mode, tree.root.uid], [0o700, 1]);
  });

  test("attributes of namespaces that Linux does not have are left out", () => {
    const tree = merge([[{ path: "f", pax: { "SCHILY.xattr.com.apple.x": "1", "SCHILY.xattr.user.y": "2" } }]]);
    assert.deepEqual(
      find(tree, "f")!.xattrs.map(({ name }) => name),
      ["user.y"],
    );
  });

  test("directories may be nested deeper than any stack", () => {
    const tree = new LayerTree(() => {});
    tree.beginLayer();
    const deep = Array.from({ length: 1000 }, () => "d").join("/");
    const layer: TestEntry[] = [directory(deep)];
    for (let i = 0; i < 30; i++) layer.push(link("l", `${i === 0 ? "" : "m/"}${deep}`), link("m", `l/${deep}`));
    for (const entry of entriesOf(layer.slice(0, 3))) tree.add(entry);
    for (const entry of entriesOf([directory(`m/${deep}`)])) tree.add(entry);
    tree.beginLayer();
    for (const entry of entriesOf([file(".wh.d", 0)])) tree.add(entry);
    assert.deepEqual(
      listing(tree).map((line) => line.slice(0, 1)),
      ["l", "m"],
    );
  });
});

test("memory is bounded, and what has gone does not count", () => {
  const tree = new LayerTree(() => {});
  const [entry] = entriesOf([{ path: "f", pax: { "SCHILY.xattr.user.a": "x".repeat(4000) } }]);
  for (let i = 0; i < 300_000; i++) {
    if (i % 1000 === 0) tree.beginLayer();
    tree.add({ ...entry!, path: `f${i % 50_000}` });
  }
  assert.throws(
    () => {
      for (let i = 0; i < 300_000; i++) tree.add({ ...entry!, path: `g${i}` });
    },
    (error: unknown) => error instanceof TarError && error.code === "too-many",
  );
});

describe("entries that are refused", () => {
  const cases: [string, Layer, RegExp][] = [
    ["that climb", [file("a/../../x", 1)], /^refused: "a\/..\/..\/x" climbs up with ".."/],
    ["with a hard link that climbs", [file("a", 1), hardLink("b", "../a")], /^refused: "..\/a" climbs/],
    ["with a hard link to nothing", [hardLink("b", "a")], /^damaged: "b" is a hard link to "a", which is not there/],
    ["with a hard link to a directory", [directory("a"), hardLink("b", "a")], /^refused: .*directory/],
    ["below a file", [file("a", 1), file("a/b", 1)], /^refused: "a\/b" lies below "a", which is no directory/],
    [
      "through links in a circle",
      [link("a", "b"), link("b", "a"), file("a/x", 1)],
      /^refused: .* too many symbolic links/,
    ],
    ["with a name of 256 bytes", [file("n".repeat(256), 1)], /^refused: .* more than 255 bytes/],
    ["with a path of more than 4096 bytes", [file(`${"n/".repeat(2048)}n`, 1)], /^refused: .* more than 4096 bytes/],
    ["with a NUL in a name", [{ path: "x", pax: { path: "a\0b" } }], /^refused: "a\?b" is a path with a NUL/],
    ["that replace the root", [{ path: "./", type: "0" }], /^refused: .* would replace the root/],
    ["that hide no name", [file("a/.wh.", 0)], /^refused: .* whiteout of no name/],
    ["that hide the directory itself", [file("a/.wh..", 0)], /^refused: .* whiteout of no name/],
    ["that hide the directory above", [file("a/.wh...", 0)], /^refused: .* whiteout of no name/],
    [
      "with an owner that cannot be",
      [{ path: "f", pax: { uid: "4294967295" } }],
      /^refused: .* owner that Linux cannot have/,
    ],
    [
      "with a device that cannot be",
      [{ path: "f", type: "3", device: [4096, 0] }],
      /^refused: .* device that Linux cannot have/,
    ],
    ["with a link to nowhere", [link("a", "")], /^refused: .* symbolic link/],
    ["with a link too long", [link("a", "x".repeat(4096))], /^refused: .* symbolic link/],
    [
      "with attributes too long",
      [{ path: "f", pax: { "SCHILY.xattr.user.a": "x".repeat(5000) } }],
      /^refused: .* more than 4 KiB/,
    ],
    [
      "with an ACL that is none",
      [{ path: "f", pax: { "SCHILY.xattr.system.posix_acl_access": "x" } }],
      /^refused: .* no access control list/,
    ],
  ];
  for (const [name, layer, expected] of cases)
    test(name, () => {
      assert.throws(
        () => merge([layer]),
        (error: unknown) => error instanceof TarError && expected.test(`${error.code}: ${error.message}`),
      );
    });
});

/** The simplest model that has the specification's words: whiteouts first, on what lower layers left; then the layer's entries. Names to ids or maps. */
type Model = Map<string, Model | number>;

const NAMES = ["a", "b", "c"];
const path = fc.array(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 3 });
const operation = fc.oneof(
  fc.record({ kind: fc.constant("file" as const), path }),
  fc.record({ kind: fc.constant("directory" as const), path }),
  fc.record({ kind: fc.constant("link" as const), path, target: path }),
  fc.record({ kind: fc.constant("hide" as const), path }),
  fc.record({ kind: fc.constant("opaque" as const), path }),
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

function modelParent(model: Model, parts: readonly string[], make: boolean): Model | undefined {
  let here = model;
  for (const part of parts) {
    let next = here.get(part);
    if (next === undefined && make) here.set(part, (next = new Map()));
    if (!(next instanceof Map)) return undefined;
    here = next;
  }
  return here;
}

function modelHide(model: Model, { kind, path: at }: Operation): void {
  if (kind === "hide") modelParent(model, at.slice(0, -1), false)?.delete(at.at(-1)!);
  if (kind === "opaque") modelParent(model, at, false)?.clear();
}

function modelAdd(model: Model, { kind, path: at }: Operation, id: number): void {
  const [parent, name] = [modelParent(model, at.slice(0, -1), true)!, at.at(-1)!];
  if (kind !== "directory") parent.set(name, id);
  else if (!(parent.get(name) instanceof Map)) parent.set(name, new Map());
}

function toEntry(op: Operation, id: number): TarEntry {
  const at = op.path.join("/");
  const whiteout = [...op.path.slice(0, -1), `.wh.${op.path.at(-1)!}`].join("/");
  const forms: Record<Operation["kind"], TestEntry> = {
    file: { path: at, data: "x".repeat(id) },
    directory: { path: `${at}/` },
    link: { path: at, type: "1", link: op.kind === "link" ? op.target.join("/") : "" },
    hide: { path: whiteout },
    opaque: { path: `${at}/.wh..wh..opq` },
  };
  return entriesOf([forms[op.kind]])[0]!;
}

function modelListing(model: Model, prefix = ""): string[] {
  return [...model]
    .flatMap(([name, below]) =>
      below instanceof Map
        ? [`${prefix}${name}/`, ...modelListing(below, `${prefix}${name}/`)]
        : [`${prefix}${name} ${below}`],
    )
    .sort();
}

test("random layers give what a simple model gives, and every file that has lost its last name is released", () => {
  const layers = fc.array(fc.array(operation, { maxLength: 10 }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(layers, (all) => {
      const released: RegularFile[] = [];
      const made: RegularFile[] = [];
      const tree = new LayerTree((gone) => void released.push(gone));
      const model: Model = new Map();
      let id = 0;
      for (const layer of all) {
        tree.beginLayer();
        for (const op of layer) modelHide(model, op);
        for (const op of layer) id = apply(op, id + 1);
      }
      const links = new Map<Inode, number>();
      assert.deepEqual(
        listing(tree).map((line) => line.replace(/ x\d+$/, "")),
        modelListing(model),
      );
      count(tree.root, links);
      for (const one of made) assert.equal(one.links, links.get(one) ?? 0);
      assert.deepEqual(new Set(released), new Set(made.filter((one) => one.links === 0)));
      assert.equal(new Set(released).size, released.length);

      /** Entries that both refuse, since a parent is a file or a target is missing, are left out. */
      function apply(op: Operation, next: number): number {
        const target =
          op.kind === "link" ? modelParent(model, op.target.slice(0, -1), false)?.get(op.target.at(-1)!) : next;
        if (typeof target !== "number") return next;
        try {
          const added = tree.add(toEntry(op, next));
          if (added !== undefined) {
            added.sizeBytes = next;
            made.push(added);
          }
        } catch (error) {
          assert.match(String(error), /is no directory/);
          return next;
        }
        if (op.kind !== "hide" && op.kind !== "opaque") modelAdd(model, op, target);
        return next;
      }
    }),
    { numRuns: 3000 },
  );
});

function count(directory: Directory, links: Map<Inode, number>): void {
  for (const { inode } of directory.entries.values()) {
    links.set(inode, (links.get(inode) ?? 0) + 1);
    if (inode instanceof Directory) count(inode, links);
    assert.ok(!(inode instanceof Special));
  }
}
