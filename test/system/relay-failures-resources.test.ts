import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { freePorts } from "../support/ports.ts";
import { until } from "../support/until.ts";
import { createScene, descriptors, nothingLeft, type Scene } from "./relay-node/failing.ts";
import { acme, ask, startRelayHost, type Answer, type RelayHost } from "./relay-node/host.ts";

// What a machine runs out of under relay and connector, and clocks that are set while they run: they go on, and are whole again afterwards.
const MAIN = join(import.meta.dirname, "../../src/cli/main.ts");
const CLOCK = join(import.meta.dirname, "fixtures/jumping-clock.ts");
const HOUR_MS = 3_600_000;
const TIMEOUT_MS = 60_000;
const isLinux = existsSync("/dev/full") && existsSync("/proc/self/fd");

const scenes: Scene[] = [];
const children: ChildProcess[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  await Promise.all(scenes.splice(0).map((scene) => scene.close()));
});

async function world(options: Parameters<typeof startRelayHost>[1] = {}): Promise<Scene & { relay: RelayHost }> {
  const scene = await createScene();
  scenes.push(scene);
  const relay = await startRelayHost({ tenants: { acme: acme(scene.site.publicKey) } }, options);
  scene.hosts.push(relay);
  return { ...scene, relay };
}

/** A program of ours under a shell's limit or redirection: "ulimit -n 50; exec \"$@\"". */
function under(shell: string, args: readonly string[]): ChildProcess {
  const child = spawn("sh", ["-c", shell, "sh", process.execPath, MAIN, ...args], { stdio: "ignore" });
  children.push(child);
  return child;
}
const connectArgs = ({ site, targetUrl }: Scene, url: string): string[] => [
  "connect",
  "--credentials",
  site.credentials,
  "--url",
  url,
  "--instance",
  "one",
  "--target",
  `web=${targetUrl}`,
];
const visit = (port: number, path = "/"): Promise<Answer> => ask(port, "web--acme", path);
const isAlive = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode === null && signalCode === null;

describe.skipIf(!isLinux)("no file descriptors are left", () => {
  test(
    "at the relay: connectors stay, and visitors are served again when others go",
    { timeout: TIMEOUT_MS },
    async () => {
      const { relay, site, targetUrl } = await world({ limit: "ulimit -n 80" });
      const running = site.process(relay.url, ["--target", `web=${targetUrl}`, "--instance", "one"]);
      await relay.online(2);
      await nothingLeft(relay, 2);
      const before = descriptors(relay.child.pid);
      const idle: Socket[] = [];
      for (let i = 0; i < 150; i++) {
        const socket = connect(relay.port, "127.0.0.1").on("error", () => undefined);
        idle.push(socket);
        await Promise.race([once(socket, "connect"), once(socket, "close")]);
      }
      await until("it has none left", () => descriptors(relay.child.pid) >= 79);
      for (const socket of idle) socket.destroy();
      await until("a good answer", async () => (await visit(relay.port)).status === 200, { timeoutMs: 5_000 });
      expect(running.output()).not.toContain("connection ended");
      await nothingLeft(relay, 2);
      await until("they are closed", () => descriptors(relay.child.pid) <= before + 2);
      // One who opens connections must not fill the log with it.
      expect(relay.output().split("\n").length).toBeLessThan(200);
    },
  );

  test(
    "at the connector: what can't be passed on ends by its code, the links stay, and room comes back",
    { timeout: TIMEOUT_MS },
    async () => {
      const scene = await world();
      const { relay } = scene;
      const child = under('ulimit -n 45; exec "$@"', connectArgs(scene, relay.url));
      await relay.online(2);
      const asked = Array.from({ length: 80 }, () => visit(relay.port, "/hang"));
      const sessions = (await relay.sessions()).map(({ lane }) => lane);
      const failed = await Promise.any(
        asked.map(async (each) => ((await each).status === 200 ? Promise.reject() : each)),
      );
      expect([502, 503]).toContain(failed.status);
      expect(failed.headers["causeway-error"]).toMatch(/^(?:target-|over-capacity)/);
      scene.release();
      const statuses = (await Promise.all(asked)).map(({ status }) => status);
      expect(statuses).toContain(200);
      expect(new Set(statuses).size).toBe(2);
      await until("a good answer", async () => (await visit(relay.port)).status === 200);
      expect((await relay.sessions()).map(({ lane }) => lane)).toEqual(sessions);
      expect(isAlive(child)).toBe(true);
      await nothingLeft(relay, 2);
    },
  );
});

describe.skipIf(!isLinux)("the disk of the log is full", () => {
  test("a connector and a relay go on without it", { timeout: TIMEOUT_MS }, async () => {
    const scene = await createScene();
    scenes.push(scene);
    const [port = 0, admin = 0] = await freePorts(2);
    const config = join(scene.site.folder, "relay.json");
    const listen = { visitors: `127.0.0.1:${port}`, admin: `127.0.0.1:${admin}` };
    const tenants = { acme: acme(scene.site.publicKey) };
    writeFileSync(config, JSON.stringify({ listen, baseDomains: ["causeway.localhost"], tenants }));
    const relay = under('exec "$@" 2>/dev/full', ["relay", "--config", config]);
    const connector = under('exec "$@" 2>/dev/full', connectArgs(scene, `http://relay.causeway.localhost:${port}`));
    for (let n = 0; n < 3; n++) {
      await until("a good answer", async () => (await visit(port)).status === 200);
      for (let i = 0; i < 10; i++) expect((await visit(port)).status).toBe(200);
    }
    expect([isAlive(relay), isAlive(connector)]).toEqual([true, true]);
  });
});

describe("the wall clock of the relay is set", () => {
  test(
    "an hour forwards, two backwards: no request and no link ends; a connector that dials then is told of the clocks",
    { timeout: TIMEOUT_MS },
    async () => {
      const scene = await createScene();
      scenes.push(scene);
      const ahead = join(scene.site.folder, "ahead");
      const relay = await startRelayHost(
        { tenants: { acme: acme(scene.site.publicKey) } },
        { env: { NODE_OPTIONS: `--import=${CLOCK}`, CLOCK_AHEAD_FILE: ahead } },
      );
      scene.hosts.push(relay);
      const set = async (ms: number): Promise<void> => {
        writeFileSync(ahead, String(ms));
        relay.child.kill("SIGUSR2");
        await until("it is set", async () => {
          await visit(relay.port); // leaves a line
          const [, time = ""] = /"time":"([^"]*)"[^\n]*\n$/.exec(relay.output()) ?? [];
          return Math.abs(Date.parse(time) - Date.now() - ms) < 10_000;
        });
      };
      const args = ["--target", `web=${scene.targetUrl}`, "--reconnect-max", "1"];
      const running = scene.site.process(relay.url, [...args, "--instance", "one"]);
      await relay.online(2);
      const hanging = visit(relay.port, "/hang");
      await until("it hangs", () => scene.hanging() === 1);
      for (const ms of [HOUR_MS, -HOUR_MS]) {
        await set(ms);
        for (let i = 0; i < 5; i++) expect((await visit(relay.port)).status).toBe(200);
        expect(running.output()).not.toContain("connection ended");
      }
      const late = scene.site.process(relay.url, [...args, "--instance", "late"]);
      await until("it is told", () => /clock/.test(late.output()));
      expect((await relay.sessions()).map(({ instanceId }) => instanceId)).toEqual(["one", "one"]);
      await set(0);
      scene.release();
      expect((await hanging).body).toBe("late");
      await nothingLeft(relay, 2);
    },
  );
});
