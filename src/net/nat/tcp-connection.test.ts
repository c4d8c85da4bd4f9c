import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { TcpConnection } from "./tcp-connection.ts";
import { Flag, TcpSegment } from "./tcp-segment.ts";
import { SimulatedEnd, Simulation, type Weather } from "./test-tcp-simulation.ts";

const HOUR = 3_600_000;
const CALM: Weather = {
  loss: 0,
  duplication: 0,
  noRoom: 0,
  jitterMs: 0,
  windowBytes: 1 << 20,
  drainBytes: 1 << 20,
  seed: 1,
};

function stream(pieces: readonly number[], salt: number): Uint8Array[] {
  let position = salt;
  return pieces.map((length) => Uint8Array.from({ length }, () => (position++ * 2_654_435_761) >>> 24));
}
function pair(weather: Weather, there: Uint8Array[], back: Uint8Array[], mss = 1460) {
  const simulation = new Simulation(weather.seed);
  const active = new SimulatedEnd(simulation, weather, mss, there);
  const passive = new SimulatedEnd(simulation, weather, mss, back);
  active.peer = passive;
  passive.peer = active;
  active.connection = TcpConnection.connect(active, active, 120_000);
  return { simulation, active, passive };
}
function check(end: SimulatedEnd, sent: Uint8Array[], weather: Weather) {
  // Whoever loses the last acknowledgement again and again cannot know that all has arrived.
  assert.ok(end.closed === "ended" || (weather.loss > 0 && end.closed === "reset"), String(end.closed));
  assert.ok(end.isEnded && end.isFree);
  assert.deepEqual(Buffer.concat(end.received), Buffer.concat(sent));
  assert.ok(end.maxPending <= weather.windowBytes);
}

const share = (max: number) => fc.double({ min: 0, max, noNaN: true });
const weathers = fc.record({
  loss: share(0.15),
  duplication: share(0.3),
  noRoom: share(0.15),
  jitterMs: fc.integer({ min: 0, max: 50 }),
  windowBytes: fc.integer({ min: 1000, max: 200_000 }),
  drainBytes: fc.integer({ min: 500, max: 100_000 }),
  seed: fc.integer(),
});
const pieces = fc.array(fc.integer({ min: 1, max: 40_000 }), { maxLength: 12 });

describe("a connection", () => {
  test("carries both streams whole and in order, whatever the network loses, repeats, reorders or refuses", () => {
    fc.assert(
      fc.property(weathers, pieces, pieces, fc.integer({ min: 100, max: 9000 }), (weather, there, back, mss) => {
        const [sent, answered] = [stream(there, 1), stream(back, 7)];
        const { simulation, active, passive } = pair(weather, sent, answered, mss);
        assert.ok(simulation.run(12 * HOUR));
        check(passive, sent, weather);
        check(active, answered, weather);
      }),
      { numRuns: 100 },
    );
  });

  test("needs few segments where nothing is lost, and no retransmission", () => {
    const sent = stream(
      Array.from({ length: 32 }, () => 65_536),
      3,
    );
    const { simulation, active, passive } = pair(CALM, sent, []);
    assert.ok(simulation.run(HOUR));
    check(passive, sent, CALM);
    // SYN, 2 MiB in packets of up to 64,240 bytes (and what is left of each piece), FIN, acknowledgements.
    assert.ok(active.sentSegments <= 70, String(active.sentSegments));
    assert.ok(passive.sentSegments <= 70, String(passive.sentSegments));
  });

  test("ends in one direction while the other goes on", () => {
    const answered = stream([100, 200, 300, 70_000, 5], 9);
    const { simulation, active, passive } = pair(CALM, [], answered);
    assert.ok(simulation.run(HOUR));
    check(active, answered, CALM);
    check(passive, [], CALM);
  });

  test("waits for a receiver that takes nothing for a long time, and goes on when it does", () => {
    const weather = { ...CALM, windowBytes: 3000, drainBytes: 1 };
    const sent = stream([20_000], 2);
    const { simulation, passive } = pair(weather, sent, []);
    assert.ok(simulation.run(HOUR));
    check(passive, sent, weather);
  });

  test("that nobody answers is lost after its patience, and the guest that vanishes after the last retry", () => {
    const silent = { ...CALM, loss: 1 };
    const { simulation, active } = pair(silent, [], []);
    assert.ok(simulation.run(HOUR));
    assert.equal(active.closed, "lost");
    assert.ok(active.isFree && simulation.now >= 120_000 && simulation.now < 130_000);
  });
});

/** A guest's end that the test plays by hand. */
function open() {
  const simulation = new Simulation(5);
  const end = new SimulatedEnd(simulation, CALM, 1460, []);
  const answers: TcpSegment[] = [];
  end.peer = { arrive: (segment: TcpSegment) => answers.push(segment) } as unknown as SimulatedEnd;
  end.onOpen = () => {};
  const send = (fields: Partial<TcpSegment>) => {
    end.arrive(Object.assign(new TcpSegment(), { flags: Flag.ACK, window: 1000, ...fields }));
    simulation.run(simulation.now + 10);
  };
  send({ seq: 1000, flags: Flag.SYN, mss: 1460, scale: 0 });
  const synAck = answers.at(-1)!;
  const ack = (synAck.seq + 1) | 0;
  send({ seq: 1001, ack });
  assert.equal(end.connection!.state, "OPEN");
  return { simulation, end, answers, send, ack };
}

describe("a guest that is silent", () => {
  const MINUTES = 60_000;
  test("is asked after ten minutes, and kept if it answers", () => {
    const { simulation, end, answers, send, ack } = open();
    simulation.now += 9 * MINUTES;
    end.connection!.keepAlive();
    simulation.run(simulation.now + 10);
    const before = answers.length;
    simulation.now += 2 * MINUTES;
    end.connection!.keepAlive();
    simulation.run(simulation.now + 10);
    assert.equal(answers.length, before + 1);
    assert.equal(answers.at(-1)!.seq, (ack - 1) | 0);
    send({ seq: 1001, ack });
    for (let minute = 0; minute < 9; minute++) {
      simulation.now += MINUTES;
      end.connection!.keepAlive();
    }
    assert.equal(end.closed, undefined);
  });
  test("and does not answer is gone", () => {
    const { simulation, end } = open();
    for (let minute = 0; minute < 20; minute++) {
      simulation.now += MINUTES;
      end.connection!.keepAlive();
    }
    assert.equal(end.closed, "lost");
    assert.ok(end.isFree);
  });
});

describe("a hostile guest", () => {
  test("resets only with the number that comes next", () => {
    const { end, answers, send, ack } = open();
    send({ seq: 1002, ack, flags: Flag.RST });
    send({ seq: 5000, ack, flags: Flag.RST | Flag.ACK });
    assert.equal(end.closed, undefined);
    assert.equal(answers.at(-1)!.ack, 1001);
    send({ seq: 1001, ack, flags: Flag.RST });
    assert.equal(end.closed, "reset");
  });
  test("cannot begin anew within a connection", () => {
    const { end, answers, send, ack } = open();
    send({ seq: 1001, ack, flags: Flag.SYN });
    send({ seq: 99_999_999, ack, flags: Flag.SYN });
    assert.equal(end.connection!.state, "OPEN");
    assert.equal(answers.at(-1)!.flags, Flag.ACK);
  });
  test("that acknowledges what was never sent is told so, and takes nothing with it", () => {
    const { end, answers, send, ack } = open();
    end.connection!.write(Uint8Array.of(1, 2, 3));
    send({ seq: 1001, ack: (ack + 1000) | 0, payload: Uint8Array.of(9) });
    assert.equal(end.connection!.queuedBytes, 3);
    assert.equal(end.received.length, 0);
    assert.equal(answers.at(-1)!.ack, 1001);
  });
  test("that sends beyond its window, before it, or overlapping gets the stream that it is owed", () => {
    const { end, send, ack } = open();
    const bytes = Uint8Array.from({ length: 100 }, (_, index) => index);
    const at = (from: number, to: number) => send({ seq: 1001 + from, ack, payload: bytes.subarray(from, to) });
    send({ seq: 1001 + (1 << 21), ack, payload: bytes });
    at(10, 20);
    at(15, 40);
    at(5, 60);
    at(90, 100);
    assert.ok(end.connection!.heldBytes <= 100);
    at(0, 8);
    send({ seq: 901, ack, payload: bytes });
    at(30, 95);
    assert.deepEqual(Buffer.concat(end.received), Buffer.from(bytes));
    assert.equal(end.connection!.heldBytes, 0);
  });
  test("that leaves gaps holds no more than the window and some segments", () => {
    const { end, send, ack } = open();
    for (let index = 0; index < 5000; index++) send({ seq: 1011 + index * 20, ack, payload: new Uint8Array(10) });
    assert.ok(end.connection!.heldBytes <= 640);
    assert.equal(end.received.length, 0);
  });
  test("that ends twice at different places has ended at the first", () => {
    const { end, send, ack } = open();
    send({ seq: 1005, ack, flags: Flag.ACK | Flag.FIN });
    send({ seq: 1101, ack, flags: Flag.ACK | Flag.FIN });
    send({ seq: 1001, ack, payload: new Uint8Array(50) });
    assert.equal(end.isEnded, true);
    assert.equal(Buffer.concat(end.received).length, 4);
  });
  test("never makes it throw", () => {
    const u32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
    const near = fc.integer({ min: -3000, max: 3000 });
    const segments = fc.array(
      fc.record({
        seq: fc.oneof(
          near.map((offset) => 1001 + offset),
          u32,
        ),
        ack: fc.oneof(near, u32),
        flags: fc.integer({ min: 0, max: 255 }),
        window: fc.integer({ min: 0, max: 65_535 }),
        payload: fc.uint8Array({ maxLength: 50 }),
      }),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(segments, fc.boolean(), (all, isEnding) => {
        const { simulation, end, send, ack } = open();
        end.connection!.write(new Uint8Array(5000));
        if (isEnding) end.connection!.end();
        for (const segment of all) send({ ...segment, ack: (segment.ack + ack) | 0 });
        end.connection!.abort();
        assert.ok(simulation.run(simulation.now + HOUR));
        assert.ok(end.isFree);
      }),
      { numRuns: 200 },
    );
  });
});
