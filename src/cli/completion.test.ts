/* The script for bash, run by bash. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";

const MERE = join(import.meta.dirname, "..", "..", "bin", "mere.js");
const TABLE = "ID            NAME  IMAGE   COMMAND\n3f9c1b20de71  web   debian  sh -c x y\n";

test("VMs are completed by name and by id, verbs and options by what they are", () => {
  const script = execFileSync(process.execPath, [MERE, "completion", "bash"], { encoding: "utf8" });
  const complete = (...words: string[]): string[] => {
    const line = `mere() { printf '${TABLE}'; }
      COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}
      _mere; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const out = execFileSync("bash", ["-c", `${script}\n${line}`], { encoding: "utf8" });
    return out.split("\n").filter((word) => word !== "");
  };
  assert.deepEqual(complete("mere", "exec", "w"), ["web"]);
  assert.deepEqual(complete("mere", "rm", "3f"), ["3f9c1b20de71"]);
  assert.deepEqual(complete("mere", "ver"), ["version"]);
  assert.deepEqual(complete("mere", "logs", "--foll"), ["--follow"]);
  assert.deepEqual(complete("mere", "image", "imp"), ["import"]);
});
