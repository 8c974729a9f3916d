import { expect, it } from "vitest";
import { textOf } from "./answers.ts";
import { answering, respond, until } from "./peer.ts";
import type { Stage } from "./suite.ts";

export function requests(stage: Stage): void {
  it("carries method, raw path, query and fields to the target, and its answer back with all of its own fields", async () => {
    const peer = await stage.connector((stream) => {
      const headers = [
        ["Set-Cookie", "a=1"],
        ["Set-Cookie", "b=2"],
        ["X-Own", "1"],
        ["Connection", "x-hop"],
        ["X-Hop", "gone"],
        ["Causeway-Error", "forged"],
      ] as const;
      stream.respond({ status: 201, headers }, false);
      stream.write(new TextEncoder().encode("hello"));
      stream.end();
      return {};
    });
    const answer = await stage.host.request({
      method: "DELETE",
      path: "/a%2Fb/..%2fc?x=%20&y=1;2",
      headers: [
        ["x-a", "1"],
        ["te", "trailers"],
        ["causeway-target", "forged"],
        ["x-forwarded-for", "6.6.6.6"],
      ],
    });
    expect(answer.status).toBe(201);
    expect(await textOf(answer)).toBe("hello");
    expect(answer.setCookies()).toEqual(["a=1", "b=2"]);
    expect(answer.header("x-own")).toBe("1");
    expect(answer.header("x-hop")).toBeNull();
    expect(answer.header("causeway-error")).toBeNull();
    const [request] = peer.requests;
    expect(request).toMatchObject({ target: "web", method: "DELETE", path: "/a%2Fb/..%2fc?x=%20&y=1;2", end: true });
    expect(request?.headers).toContainEqual(["x-a", "1"]);
    const names = request?.headers.map(([field]) => field.toLowerCase()) ?? [];
    for (const gone of ["te", "causeway-target", "connection"]) expect(names).not.toContain(gone);
    expect(JSON.stringify(request?.headers)).not.toContain("6.6.6.6");
    expect(names).toContain("causeway-request-id");
    expect(names).toContain("traceparent");
  });

  it("gives each visitor the answer to its own request, in whatever order the target answers", async () => {
    const waiting: (() => void)[] = [];
    await stage.connector((stream, { path }) => {
      waiting.push(() => respond(stream, path));
      if (waiting.length === 40) for (const answer of waiting.toReversed()) answer();
      return {};
    });
    const paths = Array.from({ length: 40 }, (_, i) => `/number/${i}`);
    const answers = await Promise.all(paths.map(async (path) => await textOf(await stage.host.request({ path }))));
    expect(answers).toEqual(paths);
  });

  it("knows that HEAD, 204 and 304 have no body, whatever length they name", async () => {
    for (const [method, status] of [
      ["HEAD", 200],
      ["GET", 204],
      ["GET", 304],
    ] as const) {
      const length = status === 200 ? ([["content-length", "1234"]] as const) : [];
      const peer = await stage.connector((stream) => {
        stream.respond({ status, headers: [["etag", '"x"'], ...length] }, true);
        return {};
      });
      const answer = await stage.host.request({ method });
      expect([answer.status, answer.header("etag"), await textOf(answer)]).toEqual([status, '"x"', ""]);
      if (method === "HEAD") expect(answer.header("content-length")).toBe("1234");
      peer.cut();
    }
  });

  it("passes a range and its 206 on untouched", async () => {
    const piece = new Uint8Array([31, 139, 8, 0, 1, 2, 3, 4]);
    const peer = await stage.connector((stream) => {
      const headers = [
        ["content-range", "bytes 0-7/100"],
        ["content-length", "8"],
      ] as const;
      stream.respond({ status: 206, headers }, false);
      stream.write(piece);
      stream.end();
      return {};
    });
    const answer = await stage.host.request({ headers: [["range", "bytes=0-7"]] });
    expect([answer.status, answer.header("content-range")]).toEqual([206, "bytes 0-7/100"]);
    expect(await answer.read()).toEqual(piece);
    expect(peer.requests[0]?.headers).toContainEqual(["range", "bytes=0-7"]);
  });

  it("streams events as they come, and tells the target when the visitor leaves", async () => {
    let push = (_text: string): void => undefined;
    const peer = await stage.connector((stream) => {
      stream.respond({ status: 200, headers: [["content-type", "text/event-stream"]] }, false);
      push = (text) => void stream.write(new TextEncoder().encode(text));
      return {};
    });
    const answer = await stage.host.request({ path: "/sse" });
    for (const text of ["data: 1\n\n", "data: 2\n\n"]) {
      push(text);
      expect(new TextDecoder().decode((await answer.read()) ?? undefined)).toBe(text);
    }
    await answer.cancel();
    await until("the stream has ended", () => {
      push(":\n\n"); // where the platform tells only at the next write
      return peer.session.openStreams === 0;
    });
  });

  it("says in a trace who answered and how long it took", async () => {
    await stage.connector(answering("traced"));
    const answer = await stage.host.request({ path: "/", headers: [] });
    expect(answer.header("causeway-request-id")).toMatch(/^req_/);
    expect(await textOf(answer)).toBe("traced");
  });
}
