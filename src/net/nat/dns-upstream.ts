/* Asks the host's name servers. @source RFC 1035 §4.2, RFC 5452 (random identifiers and ports), RFC 7766; resolv.conf(5). I/O thread. */
import { randomInt } from "node:crypto";
import { readFile } from "node:fs/promises";
import { Socket, isIP } from "node:net";
import { NetworkError } from "../network-error.ts";
import { ConnectedSocket } from "./connected-socket.ts";
import { type Question, isAnswer } from "./dns-message.ts";
import { putU16, u16At } from "./ipv4.ts";

export interface NameServer {
  readonly address: string;
  readonly port: number;
}

const DNS_PORT = 53;
const RESOLV_CONF = "/etc/resolv.conf";
const MAX_SERVERS = 3;
const REREAD_MS = 5000;
const TCP_TIMEOUT_MS = 6000;

/** Reads "address" or "address:port" ("[address]:port" for IPv6). @throws NetworkError "bad-server" */
export function parseNameServer(text: string): NameServer {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::([0-9]{1,5}))?$/.exec(text) ?? [];
  const address = isIP(text) === 6 ? text : (bracketed ?? plain ?? "");
  const number = port === undefined || isIP(text) === 6 ? DNS_PORT : Number(port);
  if (isIP(address) === 0 || number < 1 || number > 65_535)
    throw new NetworkError(
      "bad-server",
      `"${text}" is no name server: give its IP address, with :port if it is not 53.`,
    );
  return { address, port: number };
}

/** The name servers of a resolv.conf; without any, the host itself is it. */
export function parseResolvConf(text: string): NameServer[] {
  const servers = text
    .split("\n")
    .map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? "")
    .filter((address) => isIP(address) !== 0)
    .map((address) => ({ address, port: DNS_PORT }));
  return servers.length === 0 ? [{ address: "127.0.0.1", port: DNS_PORT }] : servers.slice(0, MAX_SERVERS);
}

/** The host's servers, read again when they may have changed: a notebook moves between networks. */
export function hostNameServers(path: string = RESOLV_CONF): () => Promise<readonly NameServer[]> {
  let readAt = -Infinity;
  let servers: Promise<readonly NameServer[]> = Promise.resolve([]);
  return () => {
    if (performance.now() - readAt > REREAD_MS) {
      readAt = performance.now();
      servers = readFile(path, "utf8").then(parseResolvConf, () => parseResolvConf(""));
    }
    return servers;
  };
}

/** Asks one server by UDP, from a port of its own. @returns undefined: no answer in time, or the server refuses */
export async function askUdp(
  server: NameServer,
  query: Uint8Array,
  question: Question,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<Uint8Array | undefined> {
  const identifier = randomInt(0x1_0000);
  const message = query.slice();
  putU16(message, 0, identifier);
  const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>();
  const giveUp = () => resolve(undefined);
  const timer = setTimeout(giveUp, timeoutMs);
  signal.addEventListener("abort", giveUp);
  const socket = new ConnectedSocket(server.address, server.port, {
    onMessage: (answer) => {
      if (isAnswer(answer, identifier, question)) resolve(withIdentifier(answer, query));
    },
    onError: giveUp,
  });
  socket.send(message);
  const answer = await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", giveUp);
  socket.close();
  return answer;
}

/** Asks one server by TCP. @returns undefined: no answer in time, or none that fits */
export async function askTcp(
  server: NameServer,
  query: Uint8Array,
  question: Question,
  { signal }: { readonly signal: AbortSignal },
): Promise<Uint8Array | undefined> {
  const identifier = randomInt(0x1_0000);
  const message = new Uint8Array(2 + query.length);
  putU16(message, 0, query.length);
  message.set(query, 2);
  putU16(message, 2, identifier);
  const socket = new Socket();
  const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>();
  const giveUp = () => resolve(undefined);
  const timer = setTimeout(giveUp, TCP_TIMEOUT_MS);
  signal.addEventListener("abort", giveUp);
  let received: Buffer<ArrayBuffer> = Buffer.alloc(0);
  socket.on("error", giveUp);
  socket.on("close", giveUp);
  socket.on("data", (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    if (received.length < 2 || received.length < 2 + u16At(received, 0)) return;
    const answer = received.subarray(2, 2 + u16At(received, 0));
    resolve(isAnswer(answer, identifier, question) ? withIdentifier(answer, query) : undefined);
  });
  socket.connect({ port: server.port, host: server.address }, () => socket.write(message));
  const answer = await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", giveUp);
  socket.destroy();
  return answer;
}

function withIdentifier(answer: Uint8Array, query: Uint8Array): Uint8Array {
  const message = answer.slice();
  putU16(message, 0, u16At(query, 0));
  return message;
}
