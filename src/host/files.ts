/* Files in a VM. */
import type { AgentClient } from "../agent/client.ts";
export class VmFiles {
  readonly #agent: AgentClient;
  constructor(agent: AgentClient) {
    this.#agent = agent;
    void this.#agent;
  }
}
