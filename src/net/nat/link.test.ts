import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GATEWAY_MAC, ISOLATED } from "../address.ts";
import type { Cable, Packet } from "../packet.ts";
import { Guest } from "./guests.ts";
import { Link } from "./link.ts";

const guest = new Guest({ ipv4: ISOLATED.guest, mac: 0x0200_0000_0001 });

/** A cable whose receiver takes so many frames. */
function setUp() {
  const taken: Packet[] = [];
  const state = { room: 0 };
  const cable: Cable = {
    send: (packet) => {
      if (state.room === 0) return false;
      state.room--;
      taken.push(packet);
      return true;
    },
    hasRoom: () => {},
    onRoom: undefined,
    close: () => {},
  };
  const link = new Link(cable, GATEWAY_MAC, 1500);
  const giveRoom = (frames: number) => {
    state.room = frames;
    cable.onRoom!();
  };
  return { link, taken, giveRoom };
}
const bulk = { bytes: new Uint8Array(1000) };

describe("a link whose receiver has no room", () => {
  test("keeps answers, in order and before data that wait", () => {
    const { link, taken, giveRoom } = setUp();
    assert.equal(link.send(bulk), false);
    link.whenRoom(() => link.send(bulk));
    for (const port of [1, 2, 3]) link.sendDatagram(guest, ISOLATED.gateway, port, 9, Uint8Array.of(port));
    giveRoom(2);
    assert.deepEqual(
      taken.map(({ bytes }) => bytes.at(-1)),
      [1, 2],
    );
    assert.equal(link.send(bulk), false);
    giveRoom(5);
    assert.deepEqual(
      taken.map(({ bytes }) => bytes.at(-1)),
      [1, 2, 3, 0],
    );
  });
  test("keeps no more than 256 KiB of them", () => {
    const { link, taken, giveRoom } = setUp();
    for (let index = 0; index < 1000; index++) link.sendDatagram(guest, ISOLATED.gateway, 1, 9, new Uint8Array(1000));
    giveRoom(10_000);
    assert.ok(taken.length > 200 && taken.length * 1000 <= 256 << 10);
    giveRoom(10);
    link.sendDatagram(guest, ISOLATED.gateway, 1, 9, Uint8Array.of(7));
    assert.equal(taken.at(-1)!.bytes.at(-1), 7);
  });
  test("lets all senders that wait take turns", () => {
    const { link, giveRoom } = setUp();
    const sent = [0, 0, 0];
    const senders = sent.map((_, index) => {
      const run = () => {
        while (link.send(bulk)) sent[index]!++;
        link.whenRoom(run);
      };
      return run;
    });
    for (const run of senders) run();
    for (let round = 0; round < 6; round++) giveRoom(5);
    assert.deepEqual(sent, [10, 10, 10]);
  });
  test("forgets who is over", () => {
    const { link, taken, giveRoom } = setUp();
    const run = () => void link.send(bulk);
    link.whenRoom(run);
    link.forget(run);
    giveRoom(1);
    assert.equal(taken.length, 0);
  });
});
