/* DNS messages, as far as the gateway reads and writes them: header, one question, addresses and names as answers.
 * @source RFC 1035 §4.1, RFC 6761. Everything else of a message passes as it is. */
import { type Ipv4, putIpv4 } from "../address.ts";
import { putU16, u16At } from "./ipv4.ts";

export const DNS_HEADER_BYTES = 12;
const MAX_NAME_BYTES = 255;
const MAX_LABEL_BYTES = 63;
const QR = 0x8000;
const OPCODE_AND_RD = 0x7900;
const RA = 0x0080;
const AUTHORITATIVE = 0x0400;

export const DnsType = { A: 1, PTR: 12, ANY: 255 } as const;
export const Rcode = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;

export interface Question {
  /** Lower case, without the last dot. */
  readonly name: string;
  readonly type: number;
  /** 1 is the Internet's. */
  readonly recordClass: number;
  /** Where the question ends in its message. */
  readonly end: number;
}

/** @returns the question of a query, or undefined if this is no query with exactly one */
export function readQuery(message: Uint8Array): Question | undefined {
  if (message.length < DNS_HEADER_BYTES || (u16At(message, 2) & QR) !== 0 || u16At(message, 4) !== 1) return undefined;
  return readQuestion(message);
}

/** Is this the answer to a question that was asked with this identifier? @source RFC 5452 §9.1 */
export function isAnswer(message: Uint8Array, identifier: number, question: Question): boolean {
  if (message.length < DNS_HEADER_BYTES || u16At(message, 0) !== identifier || (u16At(message, 2) & QR) === 0)
    return false;
  // A server that does not understand may leave the question out.
  if (u16At(message, 4) === 0) return (u16At(message, 2) & 15) !== Rcode.NOERROR;
  const answered = readQuestion(message);
  return (
    answered !== undefined &&
    answered.name === question.name &&
    answered.type === question.type &&
    answered.recordClass === question.recordClass
  );
}

/** An answer without records. */
export function emptyAnswer(query: Uint8Array, question: Question, rcode: number): Uint8Array {
  const answer = query.slice(0, question.end);
  putU16(answer, 2, QR | (u16At(query, 2) & OPCODE_AND_RD) | RA | rcode);
  answer.fill(0, 6, DNS_HEADER_BYTES);
  return answer;
}
/** An answer with one record. @param data of the type that was asked for */
export function answerWith(query: Uint8Array, question: Question, data: Uint8Array, ttlSeconds: number): Uint8Array {
  const head = emptyAnswer(query, question, Rcode.NOERROR);
  const answer = new Uint8Array(head.length + 12 + data.length);
  answer.set(head);
  putU16(answer, 2, u16At(answer, 2) | AUTHORITATIVE);
  putU16(answer, 6, 1);
  // The name is the question's.
  putU16(answer, head.length, 0xc000 | DNS_HEADER_BYTES);
  putU16(answer, head.length + 2, question.type);
  putU16(answer, head.length + 4, 1);
  putIpv4(answer, head.length + 6, ttlSeconds);
  putU16(answer, head.length + 10, data.length);
  answer.set(data, head.length + 12);
  return answer;
}

export function addressData(address: Ipv4): Uint8Array {
  const data = new Uint8Array(4);
  putIpv4(data, 0, address);
  return data;
}
/** @param name of labels up to 63 bytes */
export function nameData(name: string): Uint8Array {
  const labels = name.split(".").flatMap((label) => [label.length, ...Buffer.from(label, "latin1")]);
  return Uint8Array.from([...labels, 0]);
}

function readQuestion(message: Uint8Array): Question | undefined {
  const labels: string[] = [];
  let at = DNS_HEADER_BYTES;
  for (;;) {
    const length = message[at];
    // A question's name has nothing before it to point at.
    if (length === undefined || length > MAX_LABEL_BYTES || at - DNS_HEADER_BYTES > MAX_NAME_BYTES) return undefined;
    at++;
    if (length === 0) break;
    if (at + length > message.length) return undefined;
    labels.push(Buffer.from(message.subarray(at, at + length)).toString("latin1"));
    at += length;
  }
  if (at + 4 > message.length) return undefined;
  const name = labels.join(".").toLowerCase();
  return { name, type: u16At(message, at), recordClass: u16At(message, at + 2), end: at + 4 };
}
