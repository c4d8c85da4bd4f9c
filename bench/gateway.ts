/* The gateway alone, with Linux's own TCP/IP stack as the guest: throughput each way, and what a Gbit costs of the gateway's thread. The kernel's own work of
 * receiving runs in this thread's writes to the TAP device, so the cost is an upper bound. Needs root and iperf3.
 * Usage: node bench/gateway.ts [seconds [rounds]] */
import { spawn } from "node:child_process";
import { ISOLATED } from "../src/net/address.ts";
import { openGateway } from "../src/net/nat/gateway.ts";
import { Policy, parseRule } from "../src/net/policy.ts";
import { KernelPeer, whyNoKernelPeer } from "../tests/network/kernel-peer.ts";

const [seconds = "5", rounds = "3"] = process.argv.slice(2);
const PORT = 20_000 + (process.pid % 10_000);

interface Report {
  readonly error?: string;
  readonly end: {
    readonly sum_received: { readonly bits_per_second: number; readonly bytes: number };
    readonly sum_sent: { readonly retransmits?: number };
  };
}

async function measure(peer: KernelPeer, direction: "guest to host" | "host to guest"): Promise<void> {
  const words = ["iperf3", "-J", "-c", "10.0.2.2", "-p", String(PORT), "-t", seconds];
  const before = process.threadCpuUsage();
  const { stdout } = await peer.run(direction === "guest to host" ? words : [...words, "-R"]);
  const used = process.threadCpuUsage(before);
  const report = JSON.parse(stdout) as Report;
  if (report.error !== undefined) throw new Error(report.error);
  const gbits = (report.end.sum_received.bytes * 8) / 1e9;
  const perSecond = (report.end.sum_received.bits_per_second / 1e9).toFixed(2);
  const perCpuSecond = (gbits / ((used.user + used.system) / 1e6)).toFixed(2);
  console.log(`${direction}: ${perSecond} Gbit/s, ${perCpuSecond} Gbit for each second of the gateway's thread`);
}

const reason = whyNoKernelPeer();
if (reason !== undefined) throw new Error(`bench/gateway.ts ${reason}`);
const server = spawn("iperf3", ["-s", "-p", String(PORT), "-B", "127.0.0.1", "--forceflush"], {
  stdio: ["ignore", "pipe", "inherit"],
});
await new Promise<void>((resolve) => server.stdout.once("data", () => resolve()));
const peer = new KernelPeer(`merebench${process.pid % 100_000}`);
peer.configure("10.0.2.15/24", "10.0.2.2");
const policy = new Policy([parseRule("allow", "host")]);
const gateway = await openGateway({ cable: peer.cable, ...ISOLATED, guests: [{ ipv4: ISOLATED.guest }], policy });
peer.endpoint = gateway;
try {
  for (let round = 0; round < Number(rounds); round++) {
    await measure(peer, "guest to host");
    await measure(peer, "host to guest");
  }
} finally {
  server.kill();
  await gateway.close();
  await peer.close();
}
