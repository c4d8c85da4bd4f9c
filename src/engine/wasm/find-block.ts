/* findBlock: what the run loop does when the jump cache misses. Translates RIP, finds the block in the block table (known blocks by their address in the frames memory)
 * and puts it into the jump cache. What walk.ts gives up on, what is new, and blocks that span two pages are left to WasmVcpu.lookUp.
 * @source SDM vol. 3A §4.6, §4.10.2.4 */
import { Reg } from "../../isa/registers.ts";
import { FunctionBuilder } from "../../wasm/function.ts";
import { STATE } from "./emit-flags.ts";
import { emitAddJump } from "./jump-cache.ts";
import { BLOCK_TABLE_ENTRIES, BlockEntry, Engine } from "./layout.ts";
import { CodeEntry } from "../../memory/guest-ram.ts";
import { type CodeTables, PAGE, Pte, TABLES, WalkWriter } from "./walk.ts";

const CR4_PGE = 1 << 7;
const CR4_SMEP = 1 << 20;

class FindBlockWriter extends WalkWriter {
  readonly #tables: CodeTables;

  constructor(tables: CodeTables) {
    super(new FunctionBuilder(["i32"], ["i32"]), undefined, 0);
    this.#tables = tables;
  }

  write(): FunctionBuilder {
    const { f, address, rights } = this;
    const [key, block, isGlobal] = [f.local("i64"), f.local("i32"), f.local("i32")];
    f.get(STATE).memory("i64.load", Reg.RIP).set(address);
    this.pushNotCanonical();
    this.giveUpIf();
    this.walk(true);
    // user code needs US, supervisor code must not have it under SMEP
    f.get(rights).i32(Math.log2(Pte.US)).op("i32.shr_u").i32(1).op("i32.and");
    f.i32(1).op("i32.xor");
    f.get(rights).i32(Math.log2(Pte.US)).op("i32.shr_u");
    this.bit(Reg.CR4, CR4_SMEP).op("i32.and");
    this.field(Reg.CPL).i32(3).op("i32.eq").op("select");
    this.giveUpIf();
    this.markUsed(() => f.i32(0));
    this.findPage();
    // what this executor has been told to forget, it does not know
    const told = 1 << (CodeEntry.TOLD_SHIFT + this.#tables.executor);
    this.pushCodeEntry(this.#tables).memory("i32.load", CodeEntry.HOLDERS, TABLES).i32(told).op("i32.and");
    this.giveUpIf();
    this.pushFrameAddress()
      .get(address)
      .i64(PAGE - 1)
      .op("i64.and")
      .op("i64.or")
      .set(key);
    this.#probe(key, block);
    this.noteLarge();
    this.bit(Reg.CR4, CR4_PGE);
    f.get(this.low).i32(Math.log2(Pte.G)).op("i32.shr_u").op("i32.and");
    this.field(Reg.CPL).op("i32.eqz").op("i32.and").set(isGlobal);
    emitAddJump(f, address, block, isGlobal);
    return f.get(block);
  }
  #probe(key: number, block: number): void {
    const { f } = this;
    const at = f.local("i32");
    f.get(key).get(key).i64(BlockEntry.HASH_SHIFT).op("i64.shr_u").op("i64.xor").op("i32.wrap_i64");
    f.i32(BLOCK_TABLE_ENTRIES - 1)
      .op("i32.and")
      .i32(4)
      .op("i32.shl");
    this.field(Engine.BLOCK_TABLE).op("i32.add").tee(at).memory("i64.load", BlockEntry.KEY).get(key).op("i64.ne");
    this.giveUpIf();
    f.get(at).memory("i32.load", BlockEntry.BLOCK).set(block);
  }
}

/** The function findBlock (core.ts CORE_FUNCTIONS). */
export const findBlock = (tables: CodeTables): FunctionBuilder => new FindBlockWriter(tables).write();
