/* `mere commit`: an image of what a VM's root disk holds now. */
import type { Command } from "commander";
import { Host } from "../host/host.ts";

export function define(command: Command): void {
  command
    .argument("<vm>", "name or id of a VM that runs")
    .argument("<image>", "the image's name, as in web:1")
    .addHelpText(
      "after",
      "\nThe image has the configuration of the VM's own, which 'mere image build' changes. Other disks and shared directories\nare not part of it. Programs that write to the root wait for some seconds.",
    )
    .action(async (name: string, image: string) => {
      const { id } = await (await new Host().get(name)).commit(image);
      process.stdout.write(`${id}\n`);
    });
}
