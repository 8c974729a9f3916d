import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";
import { Directory as RealDirectory } from "../../../src/relay/directory.ts";
import type { DirectoryRecord } from "../../../src/policy/record.ts";

/** Parts around the edge in its system tests: the real Directory with a switch, and what stands for lanes and the relay's other Workers. */
let isDirectoryDown = false;

export class Directory extends RealDirectory {
  override async lookup(host: string): Promise<DirectoryRecord | null> {
    if (isDirectoryDown) throw new Error("down for a test");
    return await super.lookup(host);
  }
}

interface LaneEnv {
  readonly LANE: "a" | "b";
}

/** A lane whose targets say by their names what it does; all others echo. */
export class Lane extends DurableObject<LaneEnv> {
  #openStreams = 0;

  override async fetch(request: Request): Promise<Response> {
    const { LANE: lane } = this.env;
    const target = request.headers.get("causeway-target") ?? "";
    if (!(await this.accepts(target))) return refusal("unknown-target");
    if (target === "nobody") return refusal(lane === "a" ? "no-connector" : "unknown-target");
    if (target === "lost-a" && lane === "a") throw new Error("lost for a test");
    if (target === "lost") throw new Error("lost for a test");
    if (request.headers.get("upgrade") === "websocket") return echoSocket(`${lane} `);
    if (target === "big") return big();
    if (target === "stream") return this.#streamed();
    if (target.endsWith("-streams")) return Response.json({ open: this.#openStreams });
    const body = await request.arrayBuffer();
    const headers = new Headers({ "content-type": "application/json", "content-security-policy": "img-src 'none'" });
    headers.append("set-cookie", "a=1");
    const echo = {
      lane,
      target,
      method: request.method,
      url: request.url,
      headers: Object.fromEntries(request.headers),
      bytes: body.byteLength,
    };
    return new Response(JSON.stringify(echo), { headers });
  }

  /** Endless until its reader goes away. */
  #streamed(): Response {
    this.#openStreams += 1;
    return new Response(
      new ReadableStream<Uint8Array>({
        pull: async (controller) => {
          await new Promise((resolve) => setTimeout(resolve, 5));
          controller.enqueue(new Uint8Array(16_384));
        },
        cancel: () => {
          this.#openStreams -= 1;
        },
      }),
    );
  }

  async accepts(target: string): Promise<boolean> {
    return !target.startsWith("only-") || target.startsWith(`only-${this.env.LANE}`);
  }
}

function refusal(code: string): Response {
  const status = code === "no-connector" ? 503 : 404;
  return new Response(JSON.stringify({ code, detail: `It is ${code}.`, status }), {
    status,
    headers: { "content-type": "application/problem+json", "causeway-error": code, "causeway-refused": "1" },
  });
}

/** 4 MiB of a known length. */
function big(): Response {
  const chunk = new Uint8Array(65_536).fill(9);
  const through = new FixedLengthStream(64 * chunk.length);
  const write = async () => {
    const writer = through.writable.getWriter();
    for (let i = 0; i < 64; i++) await writer.write(chunk);
    await writer.close();
  };
  void write();
  return new Response(through.readable, { headers: { "content-length": String(64 * chunk.length) } });
}

function echoSocket(prefix: string): Response {
  const { 0: client, 1: server } = new WebSocketPair();
  server.accept();
  server.addEventListener("message", ({ data }) => server.send(`${prefix}${String(data)}`));
  return new Response(null, { status: 101, webSocket: client });
}

/** Stands for the relay's Workers: echoes upgrades, and says what it was asked otherwise. */
export default class Relay extends WorkerEntrypoint {
  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get("upgrade") === "websocket") return echoSocket("relay ");
    return Response.json({ url: request.url, headers: Object.fromEntries(request.headers) });
  }
}

/** Turns the directory off and on for the edge. */
export class Switch extends WorkerEntrypoint {
  async setDirectoryDown(isDown: boolean): Promise<void> {
    isDirectoryDown = isDown;
  }
}
