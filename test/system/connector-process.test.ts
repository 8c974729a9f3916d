import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { platform } from "node:process";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SECOND_SIGNAL_AFTER_MS } from "../../src/connector/limits.ts";
import { until } from "../support/until.ts";
import { startTestRelay, type TestRelay } from "./connector/relay.ts";
import { createSite, type Site, type SiteProcess } from "./connector/site.ts";

// `causeway connect` as people run it: a process, its flags, its signals, its exit codes.
const MIB = 1024 * 1024;
let relay: TestRelay;
let site: Site;

beforeEach(async () => {
  site = createSite();
  relay = await startTestRelay({ key: site.publicKey });
});
afterEach(async () => {
  await site.close();
  await relay.stop();
});

const both = () => Promise.all([relay.link("a"), relay.link("b")]);

describe("causeway connect", () => {
  test("needs a credentials file and a target, shows up on both lanes, and listens nowhere", async () => {
    const { child } = site.process(relay.url, ["--target", "ping", "--target", "me=debug:echo"]);
    const [a, b] = await both();
    expect([a.peer.targets, b.peer.targets]).toEqual([
      ["ping", "me"],
      ["ping", "me"],
    ]);
    expect(await a.open({ target: "ping" }).text()).toBe("PONG\n");
    // Only where the kernel tells in files; the claim is the same everywhere.
    if (platform === "linux") expect(listeningPorts(child.pid ?? 0)).toEqual([]);
  });

  test("says where visitors find its targets, or that none is named here", async () => {
    const host = relay.url.replace("127.0.0.1", "relay.causeway.localhost");
    const named = site.process(host, ["--target", "web=http://127.0.0.1:9"]);
    const bare = site.process(relay.url, []);
    await until("both lines", () => {
      const said = named.output().includes(`"web":"${host.replace("relay.", "web--acme.")}/"`);
      return said && bare.output().includes("no target is named here (--target NAME=URL)");
    });
  });

  test("takes its settings from the environment, flags first", async () => {
    const env = { CAUSEWAY_TARGETS: "ping", CAUSEWAY_LANES: "b", CAUSEWAY_INSTANCE: "from-env" };
    site.process(relay.url, ["--instance", "from-flag"], env);
    expect((await relay.link("b")).peer).toMatchObject({ instanceId: "from-flag", targets: ["ping"] });
    expect(relay.dials.map(({ lane }) => lane)).toEqual(["b"]);
  });

  test("keeps its instance id over a restart", async () => {
    const first = site.process(relay.url, ["--target", "ping"]);
    const [a] = await both();
    first.child.kill("SIGTERM");
    expect(await first.exit).toBe(0);
    site.process(relay.url, ["--target", "ping"]);
    const again = await relay.link("a", { not: a });
    expect(again.peer.instanceId).toBe(a.peer.instanceId);
    expect(again.peer.instanceId.length).toBeGreaterThan(10);
  });

  test("beside another one with the same credentials file is an instance of its own", async () => {
    site.process(relay.url, ["--target", "ping"]);
    const [a] = await both();
    site.process(relay.url, ["--target", "ping"]);
    const other = await relay.link("a", { not: a });
    expect(other.peer.instanceId).not.toBe(a.peer.instanceId);
  });

  test("serves health on a loopback port when asked to", async () => {
    relay.refuse = { status: 503 };
    const running = site.process(relay.url, ["--target", "ping", "--health-port", "0"]);
    const port = await until("the port", () => /"healthPort":([0-9]+)/.exec(running.output())?.[1]);
    const status = async (path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).status;
    expect([await status("/healthz"), await status("/readyz"), await status("/else")]).toEqual([200, 503, 404]);
    relay.refuse = null;
    await until("it to be ready", async () => (await status("/readyz")) === 200);
    const body: unknown = await (await fetch(`http://127.0.0.1:${port}/readyz`)).json();
    expect(body).toMatchObject({ ready: true });
    expect(JSON.stringify(body)).toContain('"lane":"a"');
  });
});

describe("memory", () => {
  test("stays flat while big bodies pass both ways and readers stall", async () => {
    const demo = await site.demoTarget();
    const { child } = site.process(relay.url, ["--target", `demo=${demo}`]);
    const [a, b] = await both();
    const piece = new Uint8Array(256 * 1024).fill(7);
    const round = async (mebibytes: number) => {
      const pieces = function* () {
        for (let i = 0; i < mebibytes * 4; i++) yield piece;
      };
      const down = a.open({ target: "demo", path: `/blob?mb=${mebibytes}` });
      const up = b.open({ target: "demo", path: "/upload", method: "POST", body: pieces() });
      expect(JSON.parse(await up.text())).toMatchObject({ bytes: mebibytes * MIB });
      await down.sha256();
      expect(down.bytes).toBe(mebibytes * MIB);
    };
    await round(64); // warm: buffers and heap have grown to what they need
    const before = residentMib(child.pid ?? 0);
    const stalled = Array.from({ length: 50 }, () => a.open({ target: "demo", path: "/blob?mb=64", reading: false }));
    await until("each of them to hold something", () => stalled.every(({ bytes }) => bytes > 0));
    await round(256);
    expect(residentMib(child.pid ?? 0) - before).toBeLessThan(96);
    for (const { stream } of stalled) stream.reset("cancelled", "");
  });
});

describe("it ends", () => {
  test("with 5 and a clear message when the credential is wrong, without a loop of retries and without telling the key", async () => {
    const stranger = createSite();
    try {
      const running = stranger.process(relay.url, ["--target", "ping"]);
      expect(await running.exit).toBe(5);
      expect(running.output()).toContain("the relay refused the credential");
      expect(running.output()).toContain("causeway connector create");
      expect(relay.dials.length).toBeLessThanOrEqual(6);
      expect(relay.links.length).toBe(0);
      expectNoSecret(running, stranger);
      for (const { authorization } of relay.dials) expect(running.output()).not.toContain(authorization.slice(7));
    } finally {
      await stranger.close();
    }
  });

  test("with 2 when something is missing or malformed, with words that help", async () => {
    const cases: [string[], string][] = [
      [["--no-pushed-targets"], "--target"],
      [["--target", "demo"], "needs an address"],
      [["--target", "ping", "--lanes", "c"], "lanes are"],
      [["--target", "ping", "--nonsense", "x"], "--nonsense"],
      [["--target", "ping", "--url", "http://relay.example.com"], "https"],
    ];
    const ended = await Promise.all(
      cases.map(async ([args]) => {
        const running = site.process(relay.url, args);
        return [await running.exit, running.output()] as const;
      }),
    );
    for (const [i, [code, output]] of ended.entries()) {
      expect([code, output]).toEqual([2, expect.stringContaining(cases[i]?.[1] ?? "?")]);
    }
    expect(relay.dials.length).toBe(0);
  });

  test("with 2 when its credentials file is open to others, with 4 when the health port is taken", async () => {
    const taken = site.process(relay.url, ["--target", "ping", "--health-port", String(relay.port)]);
    expect(await taken.exit).toBe(4);
    expect(taken.output()).toContain(`health port ${relay.port}`);
    writeFileSync(`${site.folder}/open.json`, readFileSync(site.credentials), { mode: 0o644 });
    const open = site.process(relay.url, ["--credentials", `${site.folder}/open.json`, "--target", "ping"]);
    expect(await open.exit).toBe(2);
    expect(open.output()).toContain("chmod 600");
  });

  test("with 1 when another process takes its instance id over", async () => {
    const running = site.process(relay.url, ["--target", "ping", "--instance", "same"]);
    const links = await both();
    for (const { session, socket } of links) {
      session.replaced("another socket of the same instance took over");
      setImmediate(() => socket.close(4409));
    }
    expect(await running.exit).toBe(1);
    expect(running.output()).toContain("another socket of the same instance took over");
    expect(running.output()).toContain("--instance");
  });

  test("with 0 after SIGTERM: no new requests, open ones finish, the relay is told", async () => {
    let finish: (() => void) | null = null;
    const url = await site.target((_request, response) => {
      response.write("begun, ");
      finish = () => void response.end("finished");
    });
    const running = site.process(relay.url, ["--target", `slow=${url}`]);
    const links = await both();
    const open = links[0].open({ target: "slow" });
    const end = await until("the target to have it", () => finish);
    running.child.kill("SIGTERM");
    await until("both lanes to be told", () => links.every(({ draining }) => draining !== null));
    await until("the idle lane to be closed", () => links[1].closed);
    expect(links[0].closed).toBe(null);
    expect(
      links[0].session.open(
        { target: "slow", method: "GET", path: "/", headers: [], end: true, upgrade: null, deadlineMs: 0, urgency: 3 },
        {},
      ),
    ).toMatchObject({ ok: false });
    end();
    expect(await open.text()).toBe("begun, finished");
    expect(await running.exit).toBe(0);
    expect(links.map(({ closed }) => closed?.code)).toEqual([4410, 4410]);
    expect(relay.dials.length).toBe(2);
    expectNoSecret(running, site);
  });

  test("with 0 when the time to drain is over, however much is open", async () => {
    const running = site.process(relay.url, ["--target", "echo", "--drain-timeout", "0.3"]);
    const [a] = await both();
    const socket = a.open({ target: "echo", upgrade: "websocket" });
    await socket.head;
    running.child.kill("SIGTERM");
    expect(await running.exit).toBe(0);
    expect(await socket.outcome).toMatchObject({ reason: "session-lost" });
    expect(running.output()).toContain("the time to drain is over");
  });

  test("with 130 at once after a second SIGINT; one that follows at once is the same Ctrl-C", async () => {
    const running = site.process(relay.url, ["--target", "echo"]);
    const [a] = await both();
    await a.open({ target: "echo", upgrade: "websocket" }).head;
    running.child.kill("SIGINT");
    await until("it to drain", () => a.draining);
    const atMs = Date.now();
    running.child.kill("SIGINT");
    await until("a signal to be a second one", () => Date.now() - atMs > SECOND_SIGNAL_AFTER_MS);
    expect(running.child.exitCode).toBeNull();
    // One alone: while a process ends, a signal ends it by itself, and then it has no exit code.
    running.child.kill("SIGINT");
    expect(await running.exit).toBe(130);
    expect(Date.now() - atMs).toBeLessThan(10_000);
  });
});

const residentMib = (pid: number): number =>
  Number(execFileSync("ps", ["-o", "rss=", "-p", String(pid)]).toString()) / 1024;

function expectNoSecret(running: SiteProcess, of: Site): void {
  const secret = /"d":"([^"]+)"/.exec(readFileSync(of.credentials, "utf8"))?.[1] ?? "?";
  expect(running.output()).not.toContain(secret);
  expect(running.child.spawnargs.join(" ")).not.toContain(secret);
}

/** Ports on which a process listens, by its sockets and the kernel's table of its network. */
function listeningPorts(pid: number): number[] {
  const own = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return /^socket:\[([0-9]+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
      } catch {
        return []; // closed meanwhile
      }
    }),
  );
  const rows = ["tcp", "tcp6"].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, "utf8").split("\n").slice(1),
  );
  return rows.flatMap((row) => {
    const [, local = "", , state, , , , , , inode = ""] = row.trim().split(/\s+/);
    return state === "0A" && own.has(inode) ? [Number.parseInt(local.split(":")[1] ?? "", 16)] : [];
  });
}
