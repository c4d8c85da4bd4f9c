/* Lockstep: two machines that boot the same: one translates and leads, the other interprets and follows. The leader runs for a slice as it likes; it stops where its
 * translated code looks at the fuel. The follower then runs to exactly the same place, block by block while that is far and instruction by instruction
 * when it is near, and takes interrupts exactly where the leader took them. Then they are compared. @source docs/engine.md "Lockstep" */
import { TRANSLATE_NOTHING } from "../../src/engine/wasm/engine.ts";
import type { RegisterFile } from "../../src/isa/register-file.ts";
import { Reg } from "../../src/isa/registers.ts";
import { NATIVE } from "./native.ts";
import { memoryDifferences, registerDifferences } from "./differences.ts";
import {
  type BootImage,
  type Place,
  RepeatableMachine,
  type RepeatableOptions,
  type Translation,
} from "./repeatable-machine.ts";
import type { Trace } from "./trace.ts";

/** The follower's run stops at the end of the block that uses the fuel up: by this much before the place. */
const MARGIN = 160;
const RUN = 20_000;
/** Elements of a REP that one bulk does at most, and some. */
const BULK = 70_000n;
/** Steps that retire nothing, elements of a REP mostly (of which a bulk may leave BULK), before the place is taken to be nowhere. */
const MOST_IDLE = 150_000;
const HALTED = 1;

/** How a slice ended: as it should; with differences; or the guest came to an end. */
export interface Slice {
  readonly differences: readonly string[];
  readonly end?: string;
}

export class Lockstep {
  readonly leader: RepeatableMachine;
  readonly follower: RepeatableMachine;
  /** Keeps what the follower does, which then takes single steps all the way. */
  trace: Trace | undefined;
  /** What the guest wrote to its serial port. */
  onSerial: (bytes: Uint8Array) => void = () => {};
  /** Native code leads: see registerDifferences. */
  readonly #oldFlags: boolean;

  constructor(image: BootImage, options: RepeatableOptions, translation: Translation) {
    this.#oldFlags = translation === NATIVE;
    this.leader = new RepeatableMachine(image, options, translation, false);
    this.follower = new RepeatableMachine(image, options, () => TRANSLATE_NOTHING, true);
  }
  get retired(): number {
    return this.leader.vcpu.retired;
  }

  /** Runs both. @param instructions about how many  @param withMemory compare memory and devices too */
  slice(instructions: number, withMemory: boolean): Slice {
    const { leader, follower } = this;
    leader.arrivals = [];
    const exit = leader.vcpu.run(instructions);
    const lost = this.#follow();
    if (lost !== undefined) return { differences: [lost, ...this.compare(true)] };
    const bytes = leader.devices.serial.takeOutput();
    follower.devices.serial.takeOutput();
    if (bytes.length > 0) this.onSerial(bytes);
    const differences = this.compare(withMemory);
    if (differences.length > 0) return { differences };
    if (exit.kind === "shutdown") return { differences, end: exit.reason };
    const { request } = leader.devices.power;
    if (request !== "none") return { differences, end: request };
    return exit.kind === "halted" ? this.#sleep() : { differences };
  }
  compare(withMemory: boolean): string[] {
    const { leader, follower } = this;
    const registers = registerDifferences(leader.vcpu.regs, follower.vcpu.regs, this.#oldFlags);
    return withMemory ? [...registers, ...memoryDifferences(leader, follower, this.#oldFlags)] : registers;
  }
  /** The guest waits: until its timer, or for ever. */
  #sleep(): Slice {
    const deadline = Number(this.leader.vcpu.regs.view.getBigInt64(Reg.DEADLINE, true));
    if (deadline < 0) return { differences: [], end: "it sleeps for ever" };
    const ns = Math.max(0, deadline - this.leader.nanos);
    for (const machine of [this.leader, this.follower]) machine.skip(ns);
    return { differences: [] };
  }

  /** @returns what the follower did not find on its way */
  #follow(): string | undefined {
    const { leader, follower } = this;
    follower.arrivals = [...leader.arrivals];
    for (let next = follower.arrivals[0]; next !== undefined; next = follower.arrivals[0]) {
      const left = follower.arrivals.length;
      if (!this.#advance(next)) return `never came to ${describe(next)}, is at ${describe(follower.place)}`;
      if (follower.arrivals.length < left) continue; // it came on the way
      follower.vcpu.regs.set32(Reg.INTERRUPT_SHADOW, 0); // the leader was in none
      follower.vcpu.look();
      if (follower.arrivals.length === left) return `event ${next.what} was not taken at ${describe(next)}`;
    }
    const { place } = leader;
    if (this.#advance(place)) return undefined;
    return `never came to ${describe(place)}, is at ${describe(follower.place)}`;
  }
  /** Brings the follower to a place, or to the next arrival on the way. @returns false if there is no way */
  #advance(to: Place): boolean {
    const { vcpu } = this.follower;
    const { regs } = vcpu;
    let last = -1n;
    for (let idle = 0; idle < MOST_IDLE;) {
      const before = vcpu.retired;
      const rip = regs.get64(Reg.RIP);
      const left = to.retired - before;
      if (left < 0) return false;
      if (left === 0 && this.follower.isAt(to)) return true;
      if (regs.get32(Reg.RUN_STATE) >= HALTED) return false;
      if (this.trace === undefined && left > MARGIN) vcpu.run(Math.min(left - MARGIN, RUN));
      else if (idle > 0 && rip === last && elementsTo(regs, to, left) > BULK) vcpu.run(1);
      else {
        this.trace?.add(vcpu);
        vcpu.step();
      }
      last = rip;
      idle = vcpu.retired === before ? idle + 1 : 0;
    }
    return false;
  }
}

/** In the middle of a REP: elements until the place, or until the REP is done. */
const elementsTo = (regs: RegisterFile, to: Place, left: number): bigint =>
  regs.gpr(1) - (left === 0 && regs.get64(Reg.RIP) === to.rip ? to.rcx : 0n);

const describe = ({ retired, rip, rcx }: Place): string => `${retired} at ${rip.toString(16)}, RCX ${rcx.toString(16)}`;
