/* The name service that guests see: names of the VM's network are answered here, all others by the host's name servers. Nothing below mere.internal leaves
 * the host. @source RFC 1035, RFC 7766 (TCP). Leaves out: a cache (the host's servers have one).
 * Bounded in queries at once. I/O thread. */
import { Duplex } from "node:stream";
import { type Ipv4, parseIpv4 } from "../address.ts";
import {
  DnsType,
  type Question,
  Rcode,
  addressData,
  answerWith,
  emptyAnswer,
  nameData,
  readQuery,
} from "./dns-message.ts";
import { type NameServer, askTcp, askUdp } from "./dns-upstream.ts";
import { putU16, u16At } from "./ipv4.ts";

const LOCAL_DOMAIN = "mere.internal";
const REVERSE = ".in-addr.arpa";
/** VMs come and go. */
const LOCAL_TTL_SECONDS = 5;
const MAX_QUERIES = 256;
/** Of one TCP connection: queries at once, and answers that the guest does not read. */
const MAX_PIPELINED = 16;
const MAX_UNREAD_BYTES = 1 << 18;
const ATTEMPTS_MS = [1500, 3000];
const INTERNET = 1;

/** What the service knows of its network. */
export interface LocalNames {
  /** undefined: no such host. @param name without the domain, lower case */
  addressOf(name: string): Ipv4 | undefined;
  /** @returns a name without the domain; null: one of this network's addresses, without a name; undefined: not ours to say */
  nameOf(address: Ipv4): string | null | undefined;
}

export class DnsService {
  readonly #servers: () => Promise<readonly NameServer[]>;
  readonly #names: LocalNames;
  readonly #isPermitted: () => boolean;
  readonly #closing = new AbortController();
  #outstanding = 0;

  constructor(servers: () => Promise<readonly NameServer[]>, names: LocalNames, isPermitted: () => boolean) {
    this.#servers = servers;
    this.#names = names;
    this.#isPermitted = isPermitted;
  }
  get outstanding(): number {
    return this.#outstanding;
  }

  /** Answers one query. Never rejects. @returns undefined: there is nothing to say, or too much is asked at once; the guest asks again */
  async answer(query: Uint8Array, transport: "udp" | "tcp"): Promise<Uint8Array | undefined> {
    const question = readQuery(query);
    if (question === undefined || this.#outstanding >= MAX_QUERIES) return undefined;
    if (!this.#isPermitted()) return emptyAnswer(query, question, Rcode.REFUSED);
    const local = this.#answerLocally(query, question);
    if (local !== undefined) return local;
    this.#outstanding++;
    try {
      return (await this.#ask(query, question, transport)) ?? emptyAnswer(query, question, Rcode.SERVFAIL);
    } finally {
      this.#outstanding--;
    }
  }

  /** The service over TCP, as the far end of a guest's connection. */
  open(): Duplex {
    return new DnsStream((query) => this.answer(query, "tcp"));
  }
  close(): void {
    this.#closing.abort();
  }

  async #ask(query: Uint8Array, question: Question, transport: "udp" | "tcp"): Promise<Uint8Array | undefined> {
    const servers = await this.#servers();
    const { signal } = this.#closing;
    for (const timeoutMs of transport === "udp" ? ATTEMPTS_MS : [0]) {
      for (const server of servers) {
        if (signal.aborted) return undefined;
        const answer =
          transport === "udp"
            ? await askUdp(server, query, question, { timeoutMs, signal })
            : await askTcp(server, query, question, { signal });
        if (answer !== undefined) return answer;
      }
    }
    return undefined;
  }

  #answerLocally(query: Uint8Array, question: Question): Uint8Array | undefined {
    const { name, type, recordClass } = question;
    if (recordClass !== INTERNET) return undefined;
    if (name.endsWith(REVERSE)) return this.#answerReverse(query, question);
    const isLocal = name === LOCAL_DOMAIN || name.endsWith(`.${LOCAL_DOMAIN}`);
    const host = isLocal ? name.slice(0, -LOCAL_DOMAIN.length - 1) : name;
    // Names of one label are VMs' if there is such a VM.
    const address = host.includes(".") || host === "" ? undefined : this.#names.addressOf(host);
    if (address === undefined) {
      if (!isLocal) return undefined;
      return emptyAnswer(query, question, name === LOCAL_DOMAIN ? Rcode.NOERROR : Rcode.NXDOMAIN);
    }
    if (!isLocal && host === "host") return undefined;
    // ANY is answered as A, which is all there is.
    if (type === DnsType.A || type === DnsType.ANY)
      return answerWith(query, { ...question, type: DnsType.A }, addressData(address), LOCAL_TTL_SECONDS);
    return emptyAnswer(query, question, Rcode.NOERROR);
  }
  #answerReverse(query: Uint8Array, question: Question): Uint8Array | undefined {
    const address = parseIpv4(question.name.slice(0, -REVERSE.length).split(".").toReversed().join("."));
    const host = address === undefined ? undefined : this.#names.nameOf(address);
    if (host === undefined) return undefined;
    if (host === null) return emptyAnswer(query, question, Rcode.NXDOMAIN);
    if (question.type !== DnsType.PTR) return emptyAnswer(query, question, Rcode.NOERROR);
    return answerWith(query, question, nameData(`${host}.${LOCAL_DOMAIN}`), LOCAL_TTL_SECONDS);
  }
}

/** Messages with two bytes of length before each. @source RFC 1035 §4.2.2, RFC 7766 §6.2.1.1 (answers in the order in which they come) */
class DnsStream extends Duplex {
  readonly #answer: (query: Uint8Array) => Promise<Uint8Array | undefined>;
  #received: Buffer<ArrayBufferLike> = Buffer.alloc(0);
  #pending = 0;
  #isEnded = false;
  #resume: (() => void) | undefined;

  constructor(answer: (query: Uint8Array) => Promise<Uint8Array | undefined>) {
    super({ allowHalfOpen: true });
    this.#answer = answer;
  }
  override _read(): void {
    this.#goOn();
  }
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    this.#take(done);
  }
  override _final(done: () => void): void {
    this.#isEnded = true;
    this.#endIfIdle();
    done();
  }

  #take(done: () => void): void {
    while (this.#received.length >= 2 && this.#received.length >= 2 + u16At(this.#received, 0)) {
      if (this.#pending >= MAX_PIPELINED || this.readableLength > MAX_UNREAD_BYTES) {
        this.#resume = () => this.#take(done);
        return;
      }
      const end = 2 + u16At(this.#received, 0);
      const query = this.#received.subarray(2, end);
      this.#received = this.#received.subarray(end);
      this.#pending++;
      void this.#answer(query).then((answer) => this.#deliver(answer));
    }
    done();
  }
  #deliver(answer: Uint8Array | undefined): void {
    this.#pending--;
    if (this.destroyed) return;
    // What is no query has no answer; over TCP that ends the connection.
    if (answer === undefined) {
      this.destroy();
      return;
    }
    const message = new Uint8Array(2 + answer.length);
    putU16(message, 0, answer.length);
    message.set(answer, 2);
    this.push(message);
    this.#goOn();
    this.#endIfIdle();
  }
  #goOn(): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  }
  #endIfIdle(): void {
    if (this.#isEnded && this.#pending === 0) this.push(null);
  }
}
