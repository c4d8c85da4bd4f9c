/* What the processes on a named network share on the disk: its rules and the addresses that were given. Locks say who is alive, and the system frees them with their
 * holders. @source docs/network.md "Networks by name"; flock(2). Leaves out: the sockets beside them (network-mesh.ts). On the main thread. */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { tryLock } from "../disk/lock.ts";
import { type Ipv4, formatIpv4 } from "../net/address.ts";
import { HostError } from "./host-error.ts";
import { stateError } from "./vm-directory.ts";

/** Joining and leaving take a process some milliseconds: a turn that is longer is a stopped process's. */
const TURN_MS = 10_000;
const LEAVE_MS = 1000;
const LONGEST_WAIT_MS = 160;

/** An address that no other VM of the network has, in whatever process, until it is released. */
export interface AddressClaim {
  release(): void;
}

/** Runs `use` while no other process joins or leaves the network. The directory is there then, and stays there at least as long.
 *  @throws HostError "unreachable" if another process does not come to an end, "state" */
export async function inTurn<T>(path: string, use: () => Promise<T>, patienceMs: number = TURN_MS): Promise<T> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const fd = openDirectory(path, deadline);
    try {
      await lockBefore(deadline, fd, path);
      // Whoever left last removed it.
      if (isAt(fd, path)) return await use();
    } finally {
      closeSync(fd);
    }
  }
}
function openDirectory(path: string, deadline: number): number {
  for (;;) {
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      return openSync(path, "r");
    } catch (error) {
      // Perhaps it was removed in between.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT" || performance.now() >= deadline) throw stateError(path, error);
    }
  }
}
async function lockBefore(deadline: number, fd: number, path: string): Promise<void> {
  for (let waits = 0; !tryLock(fd, "exclusive", path); waits++) {
    if (performance.now() >= deadline)
      throw new HostError(
        "unreachable",
        `Another process is joining or leaving the network kept in ${path} and does not go on; end it, or take another network.`,
      );
    // Different waits, so that who waits does not wait in step; longer ones for many, who else hold up the one whose turn it is.
    await delay(2 + Math.random() * Math.min(10 * 2 ** waits, LONGEST_WAIT_MS));
  }
}

/** Is this open file the one that has the name? */
function isAt(fd: number, path: string): boolean {
  const [open, named] = [fstatSync(fd), statSync(path, { throwIfNoEntry: false })];
  return open.ino === named?.ino && open.dev === named.dev;
}

/** A process's place on a network. */
export class NetworkDirectory {
  readonly path: string;
  readonly #rulesFd: number;

  private constructor(path: string, rulesFd: number) {
    this.path = path;
    this.#rulesFd = rulesFd;
  }

  /** Enters with the network's rules, or fixes them if nobody else is there. To be called in turn. @throws HostError "bad-option" if they are others, "state" */
  static enter(path: string, name: string, rules: string): NetworkDirectory {
    const file = join(path, "rules");
    const fd = openFile(file);
    try {
      if (tryLock(fd, "exclusive", file)) {
        ftruncateSync(fd);
        writeSync(fd, rules, 0);
      } else if (readFileSync(file, "utf8") !== rules) throw otherRules(name);
      // Nobody else asks for it out of turn.
      if (!tryLock(fd, "shared", file)) throw new HostError("state", `${file} is locked by another program; end it.`);
      return new NetworkDirectory(path, fd);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** Takes an address. Safe at any moment, in turn or not. @returns undefined if another VM has it. @throws HostError "state" */
  claim(address: Ipv4): AddressClaim | undefined {
    const file = join(this.path, formatIpv4(address));
    for (;;) {
      const fd = openFile(file);
      let isOurs = false;
      try {
        if (!tryLock(fd, "exclusive", file)) return undefined;
        // Its last owner may have unlinked it before it was locked here.
        if (!isAt(fd, file)) continue;
        ftruncateSync(fd);
        // For people who look.
        writeSync(fd, `${process.pid}\n`, 0);
        isOurs = true;
      } finally {
        if (!isOurs) closeSync(fd);
      }
      return {
        release: () => {
          if (isAt(fd, file)) unlinkSync(file);
          closeSync(fd);
        },
      };
    }
  }

  /** Leaves; whoever is the last removes all. Claims are released before. */
  async leave(): Promise<void> {
    try {
      await inTurn(
        this.path,
        async () => {
          if (tryLock(this.#rulesFd, "exclusive", this.path)) rmSync(this.path, { recursive: true, force: true });
        },
        LEAVE_MS,
      );
    } catch {
      // The next who comes finds that nobody is there.
    } finally {
      closeSync(this.#rulesFd);
    }
  }
}

/** Opens a file for a lock; it is made if it is not there. */
function openFile(file: string): number {
  try {
    return openSync(file, "a+", 0o600);
  } catch (error) {
    throw stateError(file, error);
  }
}
export function otherRules(name: string): HostError {
  return new HostError(
    "bad-option",
    `The network ${name} has other rules (allow, deny, dns) than this VM asks for: they are the network's; give the same, or take another network.`,
  );
}

/** Removes the socket of a process that is dead. */
export function removeSocket(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Another process did, or the directory is gone.
  }
}
