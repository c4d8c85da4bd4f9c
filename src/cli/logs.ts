/* `mere logs`: what a VM's main process printed, each stream on its own. */
import { once } from "node:events";
import type { Command } from "commander";
import { Host } from "../host/host.ts";
import type { LogEntry } from "../host/output-log.ts";
import { failure } from "./cli-error.ts";
import { Interruption } from "./interruption.ts";
import { parseCount } from "./values.ts";

interface LogsValues {
  readonly follow?: boolean;
  readonly timestamps?: boolean;
  readonly tail?: number;
  readonly json?: boolean;
}
const MOST_LINES = 1_000_000;

export function define(command: Command): void {
  command
    .argument("<vm>", "name or id")
    .option("-f, --follow", "go on with what comes, until the VM ends")
    .option("-t, --timestamps", "put the time before each piece")
    .option("-n, --tail <count>", "only the last lines", (text) => parseCount("--tail", text, "lines", 0, MOST_LINES))
    .option("--json", "one JSON object a piece: stream, time, text")
    .action(async (name: string, values: LogsValues) => {
      const vm = await new Host().get(name);
      if (!(await vm.inspect()).config.logs)
        throw failure(
          `what ${name} prints goes where it was started, and is not kept; start it with --detach for that`,
        );
      const interruption = new Interruption();
      try {
        const follow = values.follow ?? false;
        let entries: AsyncIterable<LogEntry> = vm.logs({ follow, signal: interruption.signal });
        if (values.tail !== undefined)
          entries = follow ? lastThenAll(vm.logs(), entries, values.tail) : lastOf(entries, values.tail);
        for await (const entry of entries) await print(entry, values);
        process.exitCode = interruption.status ?? 0;
      } catch (error) {
        // Whoever read it had enough.
        if (interruption.status === undefined) throw error;
        process.exitCode = interruption.status;
      } finally {
        interruption.end();
      }
    });
}

async function print({ stream, time, bytes }: LogEntry, { json, timestamps }: LogsValues): Promise<void> {
  const text = Buffer.from(bytes);
  const out = json === true ? process.stdout : process[stream];
  const piece =
    json === true
      ? `${JSON.stringify({ stream, time, text: text.toString("utf8") })}\n`
      : timestamps === true
        ? Buffer.concat([Buffer.from(`${time.toISOString()} `), text])
        : text;
  if (!out.write(piece)) await once(out, "drain");
}

/** The last lines of what there is. */
async function* lastOf(entries: AsyncIterable<LogEntry>, lines: number): AsyncGenerator<LogEntry> {
  const all: LogEntry[] = [];
  for await (const entry of entries) all.push(entry);
  yield* tail(all, lines);
}
/** The entries, cut, that hold the last lines. */
export function tail(entries: readonly LogEntry[], lines: number): LogEntry[] {
  const kept: LogEntry[] = [];
  let left = lines;
  for (const entry of entries.toReversed()) {
    const bytes = Buffer.from(entry.bytes);
    if (bytes.length === 0) continue;
    let at = bytes.length;
    // A line feed at the very end ends the last line; it does not begin another.
    if (kept.length === 0 && bytes.at(-1) === 0x0a) at--;
    while (left > 0 && at > 0) {
      at = bytes.lastIndexOf(0x0a, at - 1);
      if (at < 0) break;
      left--;
    }
    if (left === 0) {
      if (at >= 0 && at + 1 < bytes.length && lines > 0) kept.unshift({ ...entry, bytes: bytes.subarray(at + 1) });
      break;
    }
    kept.unshift(entry);
  }
  return kept;
}
/** The last lines of what there is, then what comes. */
async function* lastThenAll(
  past: AsyncIterable<LogEntry>,
  all: AsyncIterable<LogEntry>,
  lines: number,
): AsyncGenerator<LogEntry> {
  const before: LogEntry[] = [];
  for await (const entry of past) before.push(entry);
  yield* tail(before, lines);
  let seen = 0;
  for await (const entry of all) if (seen++ >= before.length) yield entry;
}
