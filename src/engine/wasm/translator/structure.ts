/* Structured control flow from a graph: wasm has no goto. Dominator tree and reverse postorder decide where blocks and loops open; each node is written once.
 * Node 0 is the root. Edges that go back to a node which does not dominate their source (irreducible loops) have to be taken out first: see
 * irreducibleTargets. Knows nothing of x86. @source N. Ramsey, "Beyond Relooper", ICFP 2022 */
import type { FunctionBuilder, Label } from "../../../wasm/function.ts";

export interface Graph {
  /** Successors by node; node 0 is the root. */
  readonly successors: readonly (readonly number[])[];
}

export class Structure {
  /** Position in reverse postorder, −1 for nodes that are not reached. */
  readonly order: Int32Array;
  readonly idom: Int32Array;
  readonly children: number[][];
  readonly #graph: Graph;
  readonly #forward: Int32Array;
  readonly #isHeader: Uint8Array;

  constructor(graph: Graph) {
    const n = graph.successors.length;
    this.#graph = graph;
    this.order = new Int32Array(n).fill(-1);
    this.idom = new Int32Array(n).fill(-1);
    this.children = Array.from({ length: n }, () => []);
    this.#forward = new Int32Array(n);
    this.#isHeader = new Uint8Array(n);
    const sequence = this.#number();
    this.#dominators(sequence);
    for (const node of sequence) {
      if (node !== 0) this.children[this.idom[node]].push(node);
      for (const to of graph.successors[node]) {
        if (this.order[to] <= this.order[node]) this.#isHeader[to] = 1;
        else this.#forward[to]++;
      }
    }
  }

  /** Reverse postorder, without recursion: regions are deep. */
  #number(): number[] {
    const { successors } = this.#graph;
    const seen = new Uint8Array(successors.length);
    const post: number[] = [];
    const stack: { node: number; next: number }[] = [{ node: 0, next: 0 }];
    seen[0] = 1;
    while (stack.length > 0) {
      const top = stack.at(-1)!;
      const list = successors[top.node];
      // Later successors first, so that a node's first successor follows it closely in the order.
      if (top.next < list.length) {
        const to = list[list.length - 1 - top.next++];
        if (seen[to] === 0) {
          seen[to] = 1;
          stack.push({ node: to, next: 0 });
        }
      } else {
        post.push(top.node);
        stack.pop();
      }
    }
    const sequence = post.toReversed();
    sequence.forEach((node, i) => (this.order[node] = i));
    return sequence;
  }
  /** @source K. D. Cooper, T. J. Harvey, K. Kennedy, "A Simple, Fast Dominance Algorithm", 2001 */
  #dominators(sequence: readonly number[]): void {
    const predecessors: number[][] = this.#graph.successors.map(() => []);
    for (const node of sequence) for (const to of this.#graph.successors[node]) predecessors[to].push(node);
    const { idom, order } = this;
    idom[0] = 0;
    const meet = (a: number, b: number): number => {
      while (a !== b) {
        while (order[a] > order[b]) a = idom[a];
        while (order[b] > order[a]) b = idom[b];
      }
      return a;
    };
    for (let changed = true; changed;) {
      changed = false;
      for (const node of sequence) {
        if (node === 0) continue;
        let best = -1;
        for (const p of predecessors[node]) if (idom[p] >= 0) best = best < 0 ? p : meet(p, best);
        if (idom[node] !== best) {
          idom[node] = best;
          changed = true;
        }
      }
    }
  }

  dominates(a: number, b: number): boolean {
    while (this.order[b] > this.order[a]) b = this.idom[b];
    return a === b;
  }
  isLoopHeader(node: number): boolean {
    return this.#isHeader[node] === 1;
  }
  isMerge(node: number): boolean {
    return this.#forward[node] > 1;
  }
  /** Targets of edges that make loops with several entries. */
  irreducibleTargets(): Set<number> {
    const targets = new Set<number>();
    this.#graph.successors.forEach((list, node) => {
      if (this.order[node] < 0) return;
      for (const to of list) if (this.order[to] <= this.order[node] && !this.dominates(to, node)) targets.add(to);
    });
    return targets;
  }
}

/** Writes all nodes that are reached from the root. Leaves the code unreachable behind it.
 *  @param isTableTarget nodes that the root reaches by a table, and so need a label  @param write writes one node and its end */
export function writeStructured(
  f: FunctionBuilder,
  structure: Structure,
  isTableTarget: (node: number) => boolean,
  write: (node: number, labelOf: (to: number) => Label, goTo: (to: number) => void) => void,
): void {
  const labels = new Map<number, Label>();
  const loops = new Map<number, Label>();
  const needsBlock = (node: number): boolean => structure.isMerge(node) || isTableTarget(node);

  const tree = (node: number): void => {
    const merges = structure.children[node]
      .filter(needsBlock)
      .toSorted((a, b) => structure.order[b] - structure.order[a]);
    if (!structure.isLoopHeader(node)) return within(node, merges, 0);
    loops.set(node, f.loop());
    within(node, merges, 0);
    f.end();
    loops.delete(node);
  };
  const within = (node: number, merges: readonly number[], from: number): void => {
    if (from < merges.length) {
      const merge = merges[from];
      labels.set(merge, f.block());
      within(node, merges, from + 1);
      f.end();
      labels.delete(merge);
      return tree(merge);
    }
    const labelOf = (to: number): Label => labels.get(to)!;
    write(node, labelOf, (to) => {
      const loop = structure.order[to] <= structure.order[node] ? loops.get(to) : undefined;
      if (loop !== undefined) f.br(loop);
      else if (needsBlock(to)) f.br(labelOf(to));
      else tree(to);
    });
  };
  tree(0);
}
