/* `mere run --console` on a real terminal: script(1) of Debian's bsdutils makes one. One boot; the user types when the screen shows what he waits for. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { MERE } from "./support/mere.ts";

const work = mkdtempSync(join(tmpdir(), "mere-console-"));
after(() => rmSync(work, { recursive: true, force: true }));
const bigger = join(work, "bigger");
const CTRL_C = "\u0003";
const ESCAPE = "\u001d";

/** What runs on the terminal: mere, between two looks at the terminal's settings, and beside it somebody who changes the window's size when told so. */
const SESSION = `
stty rows 33 cols 101
before=$(stty -g)
(while [ ! -e ${bigger} ]; do sleep 0.1; done; stty rows 40 cols 120 </dev/tty) &
"${process.execPath}" "${MERE}" run --console
echo "left with $?"
[ "$(stty -g)" = "$before" ] && echo "as before"
`;

/** Waits for text on the screen, each time after what was found before. */
class Screen {
  readonly #session = spawn("script", ["-qec", SESSION, "/dev/null"], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, SHELL: "/bin/sh", TERM: "vt100" },
  });
  #text = "";
  #looked = () => {};
  readonly #signal: AbortSignal;
  readonly ended = new Promise<void>((resolve) => this.#session.once("close", () => resolve()));

  /** @param signal ends all waiting, and then it says what was waited for */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
    this.#session.stdout.on("data", (chunk: Buffer) => {
      this.#text += chunk.toString();
      this.#looked();
    });
  }

  type(text: string): void {
    this.#session.stdin.write(text);
  }

  async shows(expected: RegExp): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#looked = () => {
      const found = expected.exec(this.#text);
      if (found === null) return;
      this.#text = this.#text.slice(found.index + found[0].length);
      resolve();
    };
    const fail = (): void => reject(new Error(`there is no ${String(expected)} in ${JSON.stringify(this.#text)}`));
    void this.ended.then(fail);
    this.#signal.addEventListener("abort", fail);
    this.#looked();
    await promise;
  }

  end(): void {
    this.#session.kill("SIGKILL");
  }
}

test("a shell on the terminal: echo, size, Ctrl-C, resizing, leaving", { timeout: 280_000 }, async (t) => {
  const screen = new Screen(AbortSignal.timeout(270_000)); // t.signal would come too late to say what was missing
  t.after(() => screen.end());
  await screen.shows(/Ctrl-\] q leaves and stops the VM\r+\n/);
  await screen.shows(/# /);
  screen.type("tty; stty size; echo $TERM\r");
  await screen.shows(/\n\/dev\/hvc0\r+\n33 101\r+\nvt100\r+\n/);
  // a process of its own tells that it runs: the shell's would lose a signal between its fork and its exec
  screen.type("sh -c 'echo started; exec sleep 1000'\r");
  await screen.shows(/\nstarted\r+\n/);
  screen.type(CTRL_C);
  await screen.shows(/# /);
  screen.type("echo status $?\r");
  await screen.shows(/\nstatus 130\r+\n/);
  writeFileSync(bigger, "");
  screen.type('until [ "$(stty size)" = "40 120" ]; do sleep 0.1; done; echo bigger\r');
  await screen.shows(/\nbigger\r+\n/);
  screen.type("stty raw; echo ready; head -c 1 | od -An -tx1; stty -raw\r");
  await screen.shows(/\nready/);
  screen.type(ESCAPE + ESCAPE);
  await screen.shows(/ 1d\r*\n/);
  screen.type(`${ESCAPE}q`);
  await screen.shows(/left with 130\r\n/);
  await screen.shows(/as before\r\n/);
  await screen.ended;
});
