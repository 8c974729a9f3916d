import { expect, it } from "vitest";
import { errorOf, statusOf, textOf } from "./answers.ts";
import { answering, collecting, respond, until } from "./peer.ts";
import type { Stage } from "./suite.ts";

/** What a tenant may use (P16), and waiting (P17). */
export function limits(stage: Stage): void {
  it("refuses more requests at once than the tenant may have, with 429 and Retry-After", async () => {
    await stage.host.settings({ limits: { concurrentRequests: 2 } });
    const waiting: (() => void)[] = [];
    await stage.connector((stream) => {
      waiting.push(() => respond(stream, "done"));
      return {};
    });
    const admitted = [stage.host.request({}), stage.host.request({})];
    await until("both are at the target", () => waiting.length === 2);
    const third = await stage.host.request({});
    expect(Number(third.header("retry-after"))).toBeGreaterThan(0);
    expect(await errorOf(third)).toEqual([429, "rate-limited"]);
    for (const answer of waiting) answer();
    for (const answer of admitted) expect(await textOf(await answer)).toBe("done");
  });

  it("refuses more requests a second than the tenant may have", async () => {
    await stage.host.settings({ limits: { requestsPerSecond: 3 } });
    await stage.connector(answering("ok"));
    const statuses: number[] = [];
    for (let i = 0; i < 12; i++) statuses.push(await statusOf(await stage.host.request({})));
    expect(statuses.slice(0, 2)).toEqual([200, 200]);
    expect(statuses).toContain(429);
  });

  it("refuses a body that is too long, whether its length is said or not", async () => {
    await stage.host.settings({ limits: { bodyBytes: 1_000 } });
    await stage.connector((stream) => collecting(stream, (body) => respond(stream, String(body.length))));
    const ofLength = (bytes: number) => stage.host.request({ method: "POST", body: new Uint8Array(bytes) });
    expect(await textOf(await ofLength(1_000))).toBe("1000");
    expect(await errorOf(await ofLength(1_001))).toEqual([413, "body-too-large"]);
    async function* unknown(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 20; i++) {
        yield new Uint8Array(100);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
    expect(await errorOf(await stage.host.request({ method: "POST", body: unknown() }))).toEqual([
      413,
      "body-too-large",
    ]);
  });

  it("waits for a connector to come where the tenant wants it", async () => {
    await stage.host.settings({ waitForConnectorMs: 5_000 });
    const answer = stage.host.request({});
    await stage.connector(answering("there now"));
    expect(await textOf(await answer)).toBe("there now");
    await stage.host.settings({ waitForConnectorMs: 200 });
  });
}
