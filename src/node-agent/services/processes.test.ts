import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { expect, test } from "vitest";
import { portIsFree } from "./ports.ts";
import { processStart } from "./processes.ts";

// Memory takes the threads a while to give back: without it they end too fast to be seen.
const SERVER = `
  const held = Array.from({ length: 40 }, () => Buffer.alloc(1_000_000, 1));
  require("node:net").createServer().listen(Number(process.argv[1]), "127.0.0.1", () => console.log(held.length));
`;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

test(
  "a killed process is gone when its port is free, not when its first thread has ended",
  { timeout: 30_000 },
  async () => {
    for (let i = 0; i < 5; i++) {
      const port = await freePort();
      const child = spawn(process.execPath, ["-e", SERVER, String(port)], { stdio: ["ignore", "pipe", "ignore"] });
      await once(child.stdout, "data");
      const pid = child.pid ?? 0;
      expect(processStart(pid)).not.toBeNull();
      process.kill(pid, "SIGKILL");
      while (processStart(pid) !== null); // at once, since it is a matter of milliseconds
      expect(await portIsFree(port)).toBe(true);
    }
  },
);
