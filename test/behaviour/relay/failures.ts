import { expect, it } from "vitest";
import type { ResetReason } from "../../../src/protocol/tunnel/session.ts";
import { bodyOf, errorOf, textOf } from "./answers.ts";
import { answering, respond, until } from "./peer.ts";
import type { Stage } from "./suite.ts";

export function failures(stage: Stage): void {
  it("answers at once with 503 and Retry-After when no connector is there, and 404 when none has the target", async () => {
    const nobody = await stage.host.request({});
    expect(Number(nobody.header("retry-after"))).toBeGreaterThan(0);
    expect(nobody.header("content-type")).toContain("application/problem+json");
    const problem: unknown = JSON.parse(await textOf(nobody));
    expect(problem).toMatchObject({ status: 503, code: "no-connector", requestId: expect.stringMatching(/^req_/) });
    await stage.connector(answering("here"));
    expect(await errorOf(await stage.host.request({ target: "other" }))).toEqual([404, "unknown-target"]);
  });

  it.each<[Exclude<ResetReason, "session-lost">, number, string]>([
    ["target-refused", 502, "target-refused"],
    ["target-unresolved", 502, "target-unresolved"],
    ["target-timeout", 504, "target-timeout"],
    ["target-tls", 502, "target-tls"],
    ["target-reset", 502, "target-reset"],
    ["deadline-exceeded", 504, "deadline-exceeded"],
    ["body-too-large", 413, "body-too-large"],
    ["overload", 503, "over-capacity"],
    ["internal", 500, "internal-error"],
  ])("turns a connector's %s into %i %s", async (reason, status, code) => {
    await stage.connector((stream) => {
      stream.reset(reason, "as the test wants it");
      return {};
    });
    expect(await errorOf(await stage.host.request({ method: "POST", body: new Uint8Array(3) }))).toEqual([
      status,
      code,
    ]);
  });

  it("gives up on a target that is silent, names it, and drops its late answer", async () => {
    await stage.host.settings({ timeouts: { firstByteMs: 300 } });
    let late = (): void => undefined;
    const peer = await stage.connector((stream) => {
      late = () => respond(stream, "too late");
      return {};
    });
    const answer = await stage.host.request({});
    const problem: unknown = JSON.parse(await textOf(answer));
    expect(problem).toMatchObject({ status: 504, code: "target-timeout", detail: expect.stringContaining("web") });
    late();
    peer.onOpen = answering("in time");
    expect(await textOf(await stage.host.request({}))).toBe("in time");
  });

  it("ends an answer on which nothing moves, and one that takes too long in all", async () => {
    await stage.connector((stream) => {
      stream.respond({ status: 200, headers: [["content-length", "9"]] }, false);
      stream.write(new Uint8Array(1));
      return {};
    });
    await stage.host.settings({ timeouts: { idleMs: 300 } });
    await expect(bodyOf(await stage.host.request({}))).rejects.toThrow();
    await stage.host.settings({ timeouts: { totalMs: 400 } });
    await expect(bodyOf(await stage.host.request({}))).rejects.toThrow();
  });

  it("closes the socket of a connector that sends nonsense, and only that one", async () => {
    const mad = await stage.connector(answering("mad"), { targets: ["mad"] });
    const good = await stage.connector(answering("good"));
    mad.sendRaw(new Uint8Array([255, 255, 255, 1, 2, 3]));
    expect((await mad.closed).code).toBe(4400);
    expect(await textOf(await stage.host.request({}))).toBe("good");
    expect(good.session.state).toBe("open");
  });

  it("tells a visitor whose connector is lost before the answer, and starts nothing twice that may not be", async () => {
    const first = await stage.connector(() => ({}));
    const answer = stage.host.request({ method: "POST", body: new Uint8Array(10) });
    await until("the target has it", () => first.requests.length === 1);
    const second = await stage.connector(answering("second"));
    first.cut();
    expect(await errorOf(await answer)).toEqual([502, "connector-lost"]);
    expect(second.requests).toEqual([]);
  });
}
