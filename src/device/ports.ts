/* The devices as one vCPU reaches them: the buses, the MSRs of local APIC and paravirtual clock, interrupts. Runs on the executor's thread, from inside
 * Engine.run(). Hypercalls are the machine's business and are handed in. */
import type { VcpuPorts } from "../engine/engine.ts";
import type { Devices } from "./layout.ts";

/** @param index vCPU index = APIC id */
export function vcpuPorts(devices: Devices, index: number, hypercall: VcpuPorts["hypercall"]): VcpuPorts {
  const { mmio, ports } = devices;
  const apic = devices.localApics.apics[index]!;
  const clock = devices.kvmClocks[index]!;
  return {
    mmioRead: (gpa, size) => (size === 8 ? mmio.read64(gpa) : BigInt(mmio.read(gpa, size))),
    mmioWrite: (gpa, size, value) =>
      size === 8 ? mmio.write64(gpa, value) : mmio.write(gpa, size, Number(BigInt.asUintN(32, value))),
    portIn: (port, size) => ports.read(port, size),
    portOut: (port, size, value) => ports.write(port, size, value),
    readMsr: (msr) => apic.readMsr(msr) ?? clock.readMsr(msr),
    writeMsr: (msr, value) => apic.writeMsr(msr, value) || clock.writeMsr(msr, value),
    acknowledgeInterrupt: () => apic.acknowledgeInterrupt(),
    takeNmi: () => apic.takeNmi(),
    readTpr: () => apic.readTpr(),
    writeTpr: (value) => apic.writeTpr(value),
    hypercall,
    deadlinePassed: () => apic.deadlinePassed(),
  };
}
