import { expect, it } from "vitest";
import { errorOf, statusOf, textOf } from "./answers.ts";
import { answering, respond, until } from "./peer.ts";
import type { Stage } from "./suite.ts";

/** Which connector gets a request. */
export function choice(stage: Stage): void {
  it("spreads requests over two connectors, and goes on with one when the other is gone", async () => {
    const [one, two] = [await stage.connector(answering("one")), await stage.connector(answering("two"))];
    for (let i = 0; i < 40; i++) await textOf(await stage.host.request({}));
    expect(Math.min(one.requests.length, two.requests.length)).toBeGreaterThan(5);
    one.cut();
    for (let i = 0; i < 10; i++) expect(await textOf(await stage.host.request({}))).toBe("two");
    two.cut();
    await until(
      "nobody is there any more",
      async () => (await errorOf(await stage.host.request({})))[1] === "no-connector",
    );
  });

  it("repeats an idempotent request on another connector when the one that had it is lost before its answer", async () => {
    const first = await stage.connector(() => ({}));
    const answer = stage.host.request({ method: "GET" });
    await until("the target has it", () => first.requests.length === 1);
    await stage.connector(answering("second"));
    first.cut();
    expect(await textOf(await answer)).toBe("second");
  });

  it("asks another connector when the first one refuses before start, with the whole body", async () => {
    const refusing = await stage.connector((stream) => {
      stream.reset("refused-before-start", "busy");
      return {};
    });
    const bodies: number[] = [];
    await stage.connector((stream) => ({
      data(bytes) {
        bodies.push(bytes.length);
        stream.consumed(bytes.length);
      },
      end: () => respond(stream, "taken"),
    }));
    // Who is asked first is drawn by lot.
    let asked = 0;
    await until("the refusing one was asked", async () => {
      expect(await textOf(await stage.host.request({ method: "POST", body: new Uint8Array(1_000) }))).toBe("taken");
      asked += 1;
      return refusing.requests.length > 0;
    });
    expect(bodies.reduce((sum, bytes) => sum + bytes, 0)).toBe(asked * 1_000);
  });

  it("sends nothing to a target whose health check fails while another connector's is well", async () => {
    const ill = await stage.connector(answering("ill"));
    await stage.connector(answering("well"));
    ill.session.report({ load: 0, unhealthy: ["web"] });
    await until("the report has come", async () => {
      const before = ill.requests.length;
      for (let i = 0; i < 8; i++) await textOf(await stage.host.request({}));
      return ill.requests.length === before;
    });
    ill.session.report({ load: 0, unhealthy: [] });
    await until("it is asked again", async () => (await textOf(await stage.host.request({}))) === "ill");
  });

  it("replaces a socket by a newer one of the same instance, and says why", async () => {
    const granted = await stage.host.grant();
    const older = await stage.host.connect(granted, { instanceId: "same", onOpen: answering("older") });
    const newer = await stage.host.connect(granted, { instanceId: "same", onOpen: answering("newer") });
    expect((await older.closed).code).toBe(4409);
    expect(older.replaced).toHaveLength(1);
    for (let i = 0; i < 5; i++) expect(await textOf(await stage.host.request({}))).toBe("newer");
    newer.cut();
  });

  it("lets several instances of one connector share the work", async () => {
    const granted = await stage.host.grant();
    const peers = await Promise.all(
      ["a", "b"].map((instanceId) => stage.host.connect(granted, { instanceId, onOpen: answering(instanceId) })),
    );
    const seen = new Set<string>();
    for (let i = 0; i < 30; i++) seen.add(await textOf(await stage.host.request({})));
    expect([...seen].sort()).toEqual(["a", "b"]);
    for (const peer of peers) peer.cut();
  });

  it("gives a catch-all every name that nobody announces, and only those", async () => {
    const granted = await stage.host.grant({ targets: ["allowed", "web"] });
    await stage.host.connect(granted, { targets: ["*"], onOpen: answering("limited") });
    expect(await textOf(await stage.host.request({ target: "allowed" }))).toBe("limited");
    expect(await errorOf(await stage.host.request({ target: "other" }))).toEqual([404, "unknown-target"]);
    const all = await stage.connector(answering("all"), { targets: ["*"] });
    expect(await textOf(await stage.host.request({ target: "other" }))).toBe("all");
    expect(all.requests[0]?.target).toBe("other");
    const named = await stage.connector(answering("named"));
    for (let i = 0; i < 5; i++) expect(await textOf(await stage.host.request({}))).toBe("named");
    named.session.report({ load: 0, unhealthy: ["web"] });
    await until("an unhealthy target is still announced", async () => {
      return (await errorOf(await stage.host.request({})))[1] === "no-connector";
    });
    await stage.host.remove(granted);
  });

  it("offers a target as soon as it is announced, and no longer when it is taken back", async () => {
    const peer = await stage.connector(answering("late"), { targets: [] });
    peer.session.announceTargets(["web"]);
    await until("it is known", async () => (await statusOf(await stage.host.request({}))) === 200);
    peer.session.announceTargets([]);
    await until("it is gone", async () => (await statusOf(await stage.host.request({}))) === 404);
  });
}
