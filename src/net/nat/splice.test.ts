import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import { describe, test } from "node:test";
import { MemoryBudget } from "./memory-budget.ts";
import { Splice } from "./splice.ts";
import { TcpConnection } from "./tcp-connection.ts";
import { SimulatedEnd, Simulation, type Weather } from "./test-tcp-simulation.ts";

const WEATHER: Weather = {
  loss: 0,
  duplication: 0,
  noRoom: 0,
  jitterMs: 0,
  windowBytes: 1 << 20,
  drainBytes: 1 << 20,
  seed: 3,
};

/** A host's stream whose writes are finished by hand. */
class HostStream extends Duplex {
  readonly taken: Buffer[] = [];
  #finish: (() => void) | undefined;
  constructor() {
    super({ allowHalfOpen: true });
  }
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.taken.push(chunk);
    this.#finish = done;
  }
  finishWrite(): void {
    const finish = this.#finish;
    this.#finish = undefined;
    finish?.();
  }
}

/** A guest that sends so much, joined to a host's stream. */
function join(budget: MemoryBudget, bytes: number) {
  const simulation = new Simulation(WEATHER.seed);
  const guest = new SimulatedEnd(simulation, WEATHER, 1460, bytes === 0 ? [] : [new Uint8Array(bytes).fill(7)]);
  const wire = new SimulatedEnd(simulation, WEATHER, 1460, []);
  const stream = new HostStream();
  const events: string[] = [];
  const splice = new Splice(stream, budget, { onOver: () => events.push("over"), onFree: () => events.push("free") });
  let connection: TcpConnection | undefined;
  wire.peer = guest;
  guest.peer = {
    arrive: (segment: Parameters<SimulatedEnd["arrive"]>[0]) => {
      if (connection !== undefined) {
        connection.receive(segment);
        return;
      }
      connection = TcpConnection.held(wire, splice, segment);
      splice.connection = connection;
      connection.accept();
    },
  } as unknown as SimulatedEnd;
  guest.connection = TcpConnection.connect(guest, guest, 10_000);
  /** Runs virtual time, and the stream's events in between. */
  const run = async (milliseconds: number) => {
    for (const end = simulation.now + milliseconds; simulation.now < end;) {
      const step = simulation.now + 50;
      simulation.run(step);
      simulation.now = step;
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { guest, stream, events, run };
}

describe("a host's side that takes nothing", () => {
  test("closes the guest's window, and goes on where it was", async () => {
    const budget = new MemoryBudget(64 << 20);
    const { guest, stream, run } = join(budget, 3_000_000);
    await run(2000);
    assert.ok(stream.writableLength > 900_000 && stream.writableLength <= 1 << 20, String(stream.writableLength));
    assert.equal(budget.usedBytes, stream.writableLength);
    for (let turn = 0; turn < 400; turn++) {
      stream.finishWrite();
      await run(50);
    }
    assert.equal(Buffer.concat(stream.taken).length, 3_000_000);
    assert.ok(stream.writableFinished);
    stream.push(null);
    await run(5000);
    assert.equal(guest.closed, "ended");
    assert.equal(budget.usedBytes, 0);
  });
  test("with others like it holds no more than their budget", async () => {
    const budget = new MemoryBudget(1 << 20);
    const joined = Array.from({ length: 12 }, () => join(budget, 1_000_000));
    for (const { run } of joined) await run(1000);
    assert.ok(budget.usedBytes > 1 << 18 && budget.usedBytes <= 1 << 20, String(budget.usedBytes));
    for (const { stream } of joined) stream.destroy();
    for (const { run } of joined) await run(100);
    assert.equal(budget.usedBytes, 0);
  });
});

describe("a splice", () => {
  test("resets the guest when the host's side fails", async () => {
    const budget = new MemoryBudget(1 << 20);
    const { guest, stream, events, run } = join(budget, 100);
    await run(100);
    stream.destroy(new Error("ECONNRESET"));
    await run(100);
    assert.equal(guest.closed, "reset");
    assert.deepEqual(events, ["over", "free"]);
  });
  test("destroys the host's side when the guest resets", async () => {
    const budget = new MemoryBudget(8 << 20);
    const { guest, stream, run } = join(budget, 100_000);
    guest.connection!.end = () => {};
    await run(500);
    guest.connection!.abort();
    await run(500);
    assert.ok(stream.destroyed);
    assert.equal(budget.usedBytes, 0);
  });
  test("stops reading the host where the guest takes nothing, and resumes", async () => {
    const budget = new MemoryBudget(64 << 20);
    const { guest, stream, run } = join(budget, 0);
    guest.room = () => 0;
    await run(500);
    for (let piece = 0; piece < 100; piece++) stream.push(Buffer.alloc(65_536, 9));
    await run(500);
    assert.ok(stream.isPaused());
    assert.ok(budget.usedBytes <= (1 << 20) + 65_536, String(budget.usedBytes));
    guest.room = () => 1 << 20;
    await run(20_000);
    assert.equal(Buffer.concat(guest.received).length, 100 * 65_536);
    assert.equal(budget.usedBytes, 0);
  });
});
