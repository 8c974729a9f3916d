import { readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { startTestRelay, type TestRelay } from "./connector/relay.ts";
import { createSite, type Site } from "./connector/site.ts";

// `causeway connect --config`: a file of settings that changes while requests run.
let relay: TestRelay;
let site: Site;
let file: string;

beforeEach(async () => {
  site = createSite();
  relay = await startTestRelay({ key: site.publicKey });
  file = `${site.folder}/connector.yaml`;
});
afterEach(async () => {
  await site.close();
  await relay.stop();
});

const write = (text: string): void => writeFileSync(file, text);

describe("a configuration file", () => {
  test("is taken behind flags and environment", async () => {
    write(
      "lanes: a\ninstance: from-file\nrelay: https://unused.example.com\ntargets: { ping: debug:ping, me: debug:echo }\n",
    );
    site.process(relay.url, ["--config", file], { CAUSEWAY_INSTANCE: "from-env" });
    const { peer } = await relay.link("a");
    expect(peer).toMatchObject({ instanceId: "from-env", targets: ["ping", "me"] });
    expect(relay.dials.map(({ lane }) => lane)).toEqual(["a"]);
  });

  test("that is wrong or missing ends the start with 2 and names the setting", async () => {
    write("targets: { ping: debug:ping }\nhealthPrt: 1\n");
    const wrong = site.process(relay.url, ["--config", file]);
    const missing = site.process(relay.url, ["--config", `${file}.not`]);
    expect([await wrong.exit, await missing.exit]).toEqual([2, 2]);
    expect(wrong.output()).toContain('unknown setting "healthPrt"');
    expect(missing.output()).toContain("ENOENT");
  });

  test("that changes is taken without losing a request; one that is wrong is reported and changes nothing", async () => {
    const finish: (() => void)[] = [];
    const old = await site.target((_request, response) => {
      if (finish.length === 2) {
        response.end("lingering");
        return;
      }
      response.write("from the old, ");
      finish.push(() => void response.end("to the end"));
    });
    const next = await site.target((_request, response) => void response.end("from the new"));
    write(`targets: { web: "${old}", ping: debug:ping, gone: "${old}" }\nlanes: a\nhealthPort: 0\n`);
    const running = site.process(relay.url, ["--config", file]);
    const link = await relay.link("a");
    const open = [link.open({ target: "web" }), link.open({ target: "gone" })];
    await until("both requests to be there", () => finish.length === 2);

    write(`targets: { web: "${next}", ping: debug:ping, more: debug:echo }\nlanes: both\nhealthPort: 0\n`);
    await until("the change to be taken", () => running.output().includes("configuration applied"));
    expect(running.output()).toMatch(/"why":"the file changed","added":"more","changed":"web","removed":"gone"/);
    expect(running.output()).toMatch(/need a restart","settings":"lanes"/);
    await until("the relay to know", () => link.targets?.join() === "web,ping,more");
    expect(await link.open({ target: "web" }).text()).toBe("from the new");
    for (const end of finish) end();
    expect(await Promise.all(open.map((each) => each.text()))).toEqual(open.map(() => "from the old, to the end"));
    await until("the removed one to be refused", async () => {
      const outcome = await link.open({ target: "gone" }).outcome;
      return outcome.kind === "reset" && outcome.reason === "unknown-target";
    });

    write("targets: [\n");
    running.child.kill("SIGHUP");
    await until("the mistake to be reported", () => running.output().includes("the old one stays"));
    expect(await link.open({ target: "ping" }).text()).toBe("PONG\n");
    expect(link.closed).toBe(null);
    expect(relay.dials.length).toBe(1);
  });

  test("takes a new key from the credentials file for the next dial; one that is refused is no end, the right one is shown at once", async () => {
    const stranger = createSite();
    try {
      write("targets: { ping: debug:ping }\nlanes: a\n");
      const running = site.process(relay.url, ["--config", file]);
      const link = await relay.link("a");
      const key = /"privateKey":\{[^}]*\}/.exec(readFileSync(stranger.credentials, "utf8"))?.[0] ?? "?";
      const credentials = readFileSync(site.credentials, "utf8");
      writeFileSync(site.credentials, credentials.replace(/"privateKey":\{[^}]*\}/, key));
      running.child.kill("SIGHUP");
      await until("the key to be taken", () => running.output().includes('"newKey":true'));
      link.socket.terminate();
      await until("the new key to be refused", () => running.output().includes("refused the credential"));
      expect(running.child.exitCode).toBe(null);
      writeFileSync(site.credentials, credentials);
      running.child.kill("SIGHUP");
      await relay.link("a", { not: link });
    } finally {
      await stranger.close();
    }
  });
});

test("metrics tell of links, targets and the process on the health port", async () => {
  const running = site.process(relay.url, ["--target", "ping", "--target", "echo", "--health-port", "0"]);
  const [a] = await Promise.all([relay.link("a"), relay.link("b")]);
  await a.open({ target: "ping" }).text();
  const socket = a.open({ target: "echo", upgrade: "websocket" });
  await socket.head;
  const port = await until("the port", () => /"healthPort":([0-9]+)/.exec(running.output())?.[1]);
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  expect(response.headers.get("content-type")).toContain("text/plain; version=0.0.4");
  const text = await response.text();
  for (const line of [
    "causeway_connector_ready 1",
    'causeway_connector_link_up{lane="a"} 1',
    'causeway_connector_link_losses_total{lane="b"} 0',
    'causeway_connector_requests_open{target="echo"} 1',
    'causeway_connector_requests_total{target="ping",outcome="finished"} 1',
  ]) {
    expect(text.split("\n")).toContain(line);
  }
  expect(text).toMatch(/^process_resident_memory_bytes [1-9][0-9]{6,}$/m);
  // Each sample belongs to a metric with help and type.
  for (const line of text.split("\n").filter((each) => each !== "" && !each.startsWith("#"))) {
    expect(text).toContain(`# TYPE ${/^[a-z_]+/.exec(line)?.[0]} `);
  }
});
