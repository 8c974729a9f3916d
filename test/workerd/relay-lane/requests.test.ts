import { beforeAll, describe, expect, it } from "vitest";
import { answering, bytesOf, connect, grantConnector, laneStub, until, visit, type Peer } from "./peer.ts";

const TENANT = "ten_acme";
let connector: Awaited<ReturnType<typeof grantConnector>>;
let peer: Peer;

beforeAll(async () => {
  connector = await grantConnector(TENANT, "acme");
  peer = await connect(connector);
});

describe("a visitor's request", () => {
  it("reaches the target with method, raw path, query and fields, and the answer comes back with all of its own", async () => {
    peer.onOpen = (stream) => {
      stream.respond(
        {
          status: 201,
          headers: [
            ["Set-Cookie", "a=1"],
            ["Set-Cookie", "b=2"],
            ["X-Own", "1"],
            ["Connection", "x-hop"],
            ["X-Hop", "gone"],
            ["Causeway-Error", "forged"],
            ["content-disposition", 'attachment; filename="\u00c3\u00bc"'],
            ["x-latin", "\u00fc"],
          ],
        },
        false,
      );
      stream.write(bytesOf("hello"));
      stream.end();
      return {};
    };
    const response = await visit(TENANT, "/a%2Fb?x=%20&y=ä", {
      headers: { "x-a": "1", "x-wide": "ü €", te: "trailers" },
    });
    expect(response.status).toBe(201);
    expect(await response.text()).toBe("hello");
    expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    expect(response.headers.get("x-own")).toBe("1");
    expect(response.headers.get("x-hop")).toBeNull();
    expect(response.headers.get("causeway-error")).toBeNull();
    expect(response.headers.get("content-disposition")).toBe('attachment; filename="ü"');
    expect(response.headers.get("x-latin")).toBe("ü");
    const request = peer.requests.at(-1);
    expect(request?.headers).toContainEqual(["x-wide", "\u00c3\u00bc \u00e2\u0082\u00ac"]);
    expect(request).toMatchObject({ target: "web", method: "GET", path: "/a%2Fb?x=%20&y=%C3%A4", end: true });
    expect(request?.headers).toContainEqual(["x-a", "1"]);
    expect(request?.headers).toContainEqual(["host", "acme.causeway.localhost"]);
    expect(request?.headers).toContainEqual(["causeway-request-id", "req_test"]);
    const names = request?.headers.map(([name]) => name);
    for (const name of ["te", "causeway-visit", "connection"]) expect(names).not.toContain(name);
  });

  it("may be HEAD, and an answer may be 204 or 304, with a length and no body", async () => {
    for (const [method, status] of [
      ["HEAD", 200],
      ["GET", 204],
      ["GET", 304],
    ] as const) {
      peer.onOpen = (stream) => {
        stream.respond(
          { status, headers: [["etag", '"x"'], ...(status === 200 ? [["content-length", "1234"] as const] : [])] },
          true,
        );
        return {};
      };
      const response = await visit(TENANT, "/", { method });
      expect([response.status, response.headers.get("etag"), await response.text()]).toEqual([status, '"x"', ""]);
      if (method === "HEAD") expect(response.headers.get("content-length")).toBe("1234");
    }
  });

  it("sends interim heads nowhere and the final one to the visitor", async () => {
    peer.onOpen = (stream) => {
      stream.interim({ status: 103, headers: [["link", "</x>"]] });
      stream.respond({ status: 200, headers: [] }, true);
      return {};
    };
    expect((await visit(TENANT, "/")).status).toBe(200);
  });

  it("keeps an encoded body as the target encoded it", async () => {
    const zipped = new Uint8Array(
      await new Response(
        new Blob(["x".repeat(1000)]).stream().pipeThrough(new CompressionStream("gzip")),
      ).arrayBuffer(),
    );
    peer.onOpen = (stream) => {
      stream.respond({ status: 200, headers: [["content-encoding", "gzip"]] }, false);
      stream.write(zipped);
      stream.end();
      return {};
    };
    const response = await visit(TENANT, "/");
    expect(response.headers.get("content-encoding")).toBe("gzip");
    expect(await response.text()).toBe("x".repeat(1000));
  });

  it("streams the answer while it comes", async () => {
    let push = (_text: string): void => undefined;
    peer.onOpen = (stream) => {
      stream.respond({ status: 200, headers: [["content-type", "text/event-stream"]] }, false);
      push = (text) => void stream.write(bytesOf(text));
      return {};
    };
    const response = await visit(TENANT, "/sse");
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    push("data: 1\n\n");
    expect((await reader?.read())?.value).toBe("data: 1\n\n");
    push("data: 2\n\n");
    expect((await reader?.read())?.value).toBe("data: 2\n\n");
    await reader?.cancel();
    await until("the stream ends when the visitor goes away", () => peer.session.openStreams === 0);
  });

  it("goes on as long as something comes now and then, and ends at both ends when nothing moves any more", async () => {
    const outcomes: string[] = [];
    const aliveUntilMs = Date.now() + 4_000; // beyond the idle limit of these tests, 3 s
    peer.onOpen = (stream) => {
      stream.respond({ status: 200, headers: [["content-type", "text/event-stream"]] }, false);
      const beat = setInterval(() => {
        if (Date.now() < aliveUntilMs) stream.write(bytesOf(":"));
        else clearInterval(beat);
      }, 500);
      return { closed: (outcome) => void outcomes.push(outcome.kind === "reset" ? outcome.reason : outcome.kind) };
    };
    const reader = (await visit(TENANT, "/sse")).body?.getReader();
    const readToTheEnd = async (): Promise<void> => {
      while ((await reader?.read())?.done === false);
    };
    await expect(readToTheEnd()).rejects.toThrow("nothing moved for 3 s");
    expect(Date.now()).toBeGreaterThan(aliveUntilMs);
    await until("the connector is told", () => outcomes.length > 0);
    expect(outcomes).toEqual(["stalled"]);
    await until("the lane has forgotten it", async () =>
      (await laneStub(TENANT).sessions()).every(({ inFlight }) => inFlight === 0),
    );
  });

  it("is answered while its body still comes, in both directions at once", async () => {
    peer.onOpen = (stream) => {
      stream.respond({ status: 200, headers: [] }, false);
      return {
        data: (bytes) => {
          stream.write(bytes.slice());
          stream.consumed(bytes.length);
        },
        end: () => stream.end(),
      };
    };
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    const responding = visit(TENANT, "/echo", { method: "POST", body: readable });
    await writer.write(bytesOf("one"));
    const reader = (await responding).body?.pipeThrough(new TextDecoderStream()).getReader();
    expect((await reader?.read())?.value).toBe("one");
    await writer.write(bytesOf("two"));
    expect((await reader?.read())?.value).toBe("two");
    await writer.close();
    expect((await reader?.read())?.done).toBe(true);
  });
});

describe("bodies of any size", () => {
  const MIB = 1024 * 1024;

  it("come down whole, and wait for a slow visitor", async () => {
    const total = 24 * MIB;
    let written = 0;
    peer.onOpen = (stream) => {
      stream.respond({ status: 200, headers: [["content-length", String(total)]] }, false);
      const pump = (): void => {
        while (written < total) {
          const chunk = new Uint8Array(Math.min(65_536, total - written)).fill(written / 65_536);
          written += chunk.length;
          const room = stream.write(chunk);
          if (written === total) stream.end();
          if (room <= 0) return;
        }
      };
      pump();
      return { writable: pump };
    };
    const response = await visit(TENANT, "/big");
    expect(response.headers.get("content-length")).toBe(String(total));
    const reader = response.body?.getReader();
    await reader?.read();
    await until("the window fills", () => written > MIB / 2);
    const before = written;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(written).toBe(before); // the target stands still while the visitor does
    expect(written).toBeLessThan(4 * MIB);
    let got = 0;
    for (;;) {
      const { value, done } = (await reader?.read()) ?? { done: true };
      if (done || value === undefined) break;
      got += value.length;
    }
    expect(written).toBe(total);
    expect(got).toBeGreaterThan(total - MIB);
  });

  it("go up whole, and wait for a slow target", async () => {
    const total = 24 * MIB;
    let got = 0;
    let consume = (): void => undefined;
    let slow = true;
    peer.onOpen = (stream) => {
      let held = 0;
      consume = () => {
        slow = false;
        stream.consumed(held);
        held = 0;
      };
      return {
        data: (bytes) => {
          got += bytes.length;
          held += bytes.length;
          if (!slow) consume();
        },
        end: () => {
          stream.respond({ status: 200, headers: [] }, false);
          stream.write(bytesOf(String(got)));
          stream.end();
        },
      };
    };
    let sent = 0;
    const body = new ReadableStream({
      type: "bytes",
      pull(controller) {
        if (sent === total) return controller.close();
        const chunk = new Uint8Array(65_536);
        sent += chunk.length;
        controller.enqueue(chunk);
      },
    });
    const responding = visit(TENANT, "/up", { method: "PUT", body });
    await until("the window fills", () => got === 256 * 1024);
    const before = sent;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect([got, sent]).toEqual([256 * 1024, before]); // nothing is read that could not be sent
    consume();
    expect(await (await responding).text()).toBe(String(total));
  });

  it("may be left unread by a target that has answered", async () => {
    peer.onOpen = (stream) => {
      stream.respond({ status: 413, headers: [] }, false);
      stream.write(bytesOf("too much"));
      stream.end();
      stream.stopReceiving();
      return {};
    };
    const response = await visit(TENANT, "/up", { method: "POST", body: new Uint8Array(4 * MIB) });
    expect([response.status, await response.text()]).toEqual([413, "too much"]);
    await until("the stream is over", () => peer.session.openStreams === 0);
  });

  it("share windows that are far too small for all of them", async () => {
    const narrow = await connect(connector, {
      targets: ["narrow"],
      limits: { streamWindowBytes: 16 * 1024, sessionWindowBytes: 40 * 1024 },
    });
    narrow.onOpen = (stream) => {
      let sum = 0;
      return {
        data: (bytes) => {
          sum += bytes.length;
          setTimeout(() => stream.consumed(bytes.length), 1);
        },
        end: () => {
          stream.respond({ status: 200, headers: [] }, false);
          stream.write(bytesOf(String(sum)));
          stream.end();
        },
      };
    };
    const sizes = Array.from({ length: 30 }, (_, i) => 10_000 + i * 5_000);
    const answers = await Promise.all(
      sizes.map(
        async (size) =>
          await (await visit(TENANT, "/", { target: "narrow", method: "POST", body: new Uint8Array(size) })).text(),
      ),
    );
    expect(answers).toEqual(sizes.map(String));
    narrow.socket.close(1000, "done");
  });
});

describe("what a target or connector does wrong", () => {
  it("becomes a code of ours, told from the target's own errors", async () => {
    const codes = [
      ["target-refused", 502, "target-refused"],
      ["target-unresolved", 502, "target-unresolved"],
      ["target-timeout", 504, "target-timeout"],
      ["target-tls", 502, "target-tls"],
      ["target-reset", 502, "target-reset"],
      ["unknown-target", 404, "unknown-target"],
      ["body-too-large", 413, "body-too-large"],
    ] as const;
    for (const [reason, status, code] of codes) {
      peer.onOpen = (stream) => {
        stream.reset(reason, "why");
        return {};
      };
      const response = await visit(TENANT, "/");
      expect([response.status, response.headers.get("causeway-error")]).toEqual([status, code]);
      expect(response.headers.get("content-type")).toBe("application/problem+json");
      expect(await response.json()).toMatchObject({
        code,
        status,
        requestId: "req_test",
        detail: expect.stringContaining('"web"'),
      });
    }
    peer.onOpen = answering("own error", 502);
    const own = await visit(TENANT, "/");
    expect([own.status, own.headers.get("causeway-error")]).toEqual([502, null]);
  });

  it("breaks the visitor's body off when it ends in the middle", async () => {
    let cut = (): void => undefined;
    peer.onOpen = (stream) => {
      stream.respond({ status: 200, headers: [] }, false);
      stream.write(bytesOf("begin"));
      cut = () => stream.reset("target-reset", "cut");
      return {};
    };
    const response = await visit(TENANT, "/");
    const reader = response.body?.getReader();
    await reader?.read();
    cut();
    await expect(reader?.read()).rejects.toThrow();
  });

  it("is a timeout that names target and limit when no head comes in time; a late answer goes nowhere", async () => {
    let answerLate = (): void => undefined;
    const outcomes: unknown[] = [];
    peer.onOpen = (stream, request) => {
      expect(request.deadlineMs).toBe(2_000);
      answerLate = () => answering("late")(stream, request);
      return { closed: (outcome) => void outcomes.push(outcome) };
    };
    const response = await visit(TENANT, "/slow");
    expect([response.status, response.headers.get("causeway-error")]).toEqual([504, "target-timeout"]);
    expect(await response.json()).toMatchObject({ detail: 'The target "web" did not answer in time (limit 2 s).' });
    await until("the connector is told", () => outcomes.length === 1);
    expect(outcomes).toMatchObject([{ kind: "reset", by: "peer", reason: "deadline-exceeded" }]);
    answerLate();
    peer.onOpen = answering("next");
    expect(await (await visit(TENANT, "/")).text()).toBe("next");
  });

  it("leaves a request alone whose body takes longer than that, as long as it comes", async () => {
    let got = 0;
    peer.onOpen = (stream, request) => ({
      data: (bytes) => {
        got += bytes.length;
        stream.consumed(bytes.length);
      },
      end: () => void answering(String(got))(stream, request),
    });
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    const responding = visit(TENANT, "/", { method: "POST", body: readable });
    for (let i = 0; i < 6; i++) {
      await writer.write(bytesOf("x"));
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    await writer.close();
    expect(await (await responding).text()).toBe("6");
  });

  it("says what it is when nobody serves the target, or nobody is there", async () => {
    const unknown = await visit(TENANT, "/", { target: "nosuch" });
    expect([unknown.status, unknown.headers.get("causeway-error"), unknown.headers.get("causeway-refused")]).toEqual([
      404,
      "unknown-target",
      "1",
    ]);
    const nobody = await visit("ten_globex", "/");
    expect([nobody.status, nobody.headers.get("causeway-error"), nobody.headers.get("retry-after")]).toEqual([
      503,
      "no-connector",
      "5",
    ]);
    expect(nobody.headers.get("causeway-refused")).toBe("1");
  });
});
