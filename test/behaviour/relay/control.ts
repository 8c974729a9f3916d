import { expect, it } from "vitest";
import { errorOf, statusOf, textOf } from "./answers.ts";
import { Refused } from "./host.ts";
import { answering, respond, until } from "./peer.ts";
import type { Stage } from "./suite.ts";

/** What the control plane changes while everything runs. */
export function control(stage: Stage): void {
  it("ends the sockets of a connector that is disabled, and lets it in again when it is not", async () => {
    const granted = await stage.host.grant();
    const peer = await stage.host.connect(granted, { onOpen: answering("in") });
    expect(await textOf(await stage.host.request({}))).toBe("in");
    await stage.host.change(granted, { disabled: true });
    expect((await peer.closed).code).toBe(4403);
    await expect(stage.host.connect(granted)).rejects.toMatchObject({ status: 403, code: "forbidden" });
    await stage.host.change(granted, { disabled: false });
    const again = await stage.host.connect(granted, { onOpen: answering("in again") });
    expect(await textOf(await stage.host.request({}))).toBe("in again");
    again.cut();
  });

  it("ends the sockets of a connector that is removed, and knows it no more", async () => {
    const granted = await stage.host.grant();
    const peer = await stage.host.connect(granted);
    await stage.host.remove(granted);
    expect((await peer.closed).code).toBe(4403);
    await expect(stage.host.connect(granted)).rejects.toBeInstanceOf(Refused);
  });

  it("asks for the right to a target at every request", async () => {
    const granted = await stage.host.grant({ targets: ["web"] });
    const peer = await stage.host.connect(granted, { targets: ["web", "other"], onOpen: answering("mine") });
    expect(await textOf(await stage.host.request({}))).toBe("mine");
    expect(await errorOf(await stage.host.request({ target: "other" }))).toEqual([404, "unknown-target"]);
    await stage.host.change(granted, { targets: ["nothing"] });
    expect(await statusOf(await stage.host.request({}))).toBe(404);
    expect(peer.session.state).toBe("open");
    peer.cut();
  });

  it("sends only reading requests to a connector that is read-only", async () => {
    const granted = await stage.host.grant({ readOnly: true });
    const peer = await stage.host.connect(granted, { onOpen: answering("read") });
    expect(await textOf(await stage.host.request({}))).toBe("read");
    expect(await errorOf(await stage.host.request({ method: "DELETE" }))).toEqual([403, "forbidden"]);
    peer.cut();
  });

  it("switches a tenant's relay off and on", async () => {
    await stage.connector(answering("on"));
    await stage.host.settings({ disabled: true });
    expect(await errorOf(await stage.host.request({}))).toEqual([503, "not-available"]);
    await stage.host.settings({ disabled: false });
    await stage.connector(answering("on again"));
    expect(await textOf(await stage.host.request({}))).toBe("on again");
  });

  it("pushes settings and target configuration to live connectors, and again to one that comes later", async () => {
    const granted = await stage.host.grant();
    const peer = await stage.host.connect(granted);
    await stage.host.settings({ keepAliveMs: 12_000, reconnectMaxMs: 5_000 });
    await until("they were told", () => peer.pushed.some(({ keepAliveMs }) => keepAliveMs === 12_000));
    await stage.host.change(granted, { config: { revision: 7, json: '{"targets":{}}' } });
    await until("the configuration came", () => peer.pushed.at(-1)?.targetsJson === '{"targets":{}}');
    const later = await stage.host.connect(granted, { instanceId: "later" });
    await until("the later one has both", () =>
      later.pushed.some((config) => config.targetsJson === '{"targets":{}}' && config.keepAliveMs === 12_000),
    );
    peer.cut();
    later.cut();
  });

  it("drains without losing a request: those under way end well, connectors are asked to dial again", async () => {
    let finish = (): void => undefined;
    const peer = await stage.connector((stream) => {
      finish = () => respond(stream, "finished");
      return {};
    });
    const answer = stage.host.request({ method: "POST", body: new Uint8Array(5) });
    await until("it is at the target", () => peer.requests.length === 1);
    await stage.host.drain(10_000);
    await until("the connector was asked to go", () => peer.goAways.length === 1);
    finish();
    expect(await textOf(await answer)).toBe("finished");
  });
}
