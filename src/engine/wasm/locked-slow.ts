/* LOCKed accesses that no atomic instruction of the host can do: across pages or aligned pieces, to pages with code, to device windows. The other executors are
 * stopped for them. Called out of generated code, on the executor's thread. @source docs/vcpus.md "LOCK" */
import type { RegisterFile } from "../../isa/register-file.ts";
import { Engine } from "./layout.ts";
import type { Mmu } from "./mmu.ts";
import type { World } from "./world.ts";

/** What of a vCPU takes part. */
interface LockedCpu {
  readonly mmu: Mmu;
  readonly regs: RegisterFile;
}

/** Stores a value where the expected one still is. @returns 0: something else is there now; else 1 */
export function storeLocked(
  world: World,
  { mmu }: LockedCpu,
  address: bigint,
  size: number,
  expected: bigint,
  value: bigint,
): number {
  return world.alone(() => {
    // A device window's word was read once; it is not to change what reading again may do.
    if (!mmu.isDevice(address) && mmu.read(address, size) !== expected) return 0;
    mmu.write(address, size, value);
    return 1;
  });
}

/** CMPXCHG16B. @param halves expected and replacement, low half first  @returns equal; what was there is in SCRATCH */
export function exchangePair(
  world: World,
  { mmu, regs }: LockedCpu,
  address: bigint,
  halves: readonly bigint[],
): number {
  const { view } = regs;
  return world.alone(() => {
    mmu.readVector(address);
    const [low, high] = [0, 8].map((half) => view.getBigUint64(Engine.SCRATCH + half, true));
    if (low !== halves[0] || high !== halves[1]) return 0;
    view.setBigUint64(Engine.SCRATCH, halves[2]!, true);
    view.setBigUint64(Engine.SCRATCH + 8, halves[3]!, true);
    mmu.writeVector(address);
    view.setBigUint64(Engine.SCRATCH, low!, true);
    view.setBigUint64(Engine.SCRATCH + 8, high!, true);
    return 1;
  });
}
