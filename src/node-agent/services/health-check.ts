import { request } from "node:http";
import { connect as connectHttp2, type ClientHttp2Session, type IncomingHttpHeaders } from "node:http2";
import { connect } from "node:net";
import type { Endpoint } from "../envoy/render.ts";
import { LIMITS } from "../limits.ts";
import type { ServiceInstance } from "./service-driver.ts";

/** A health path that is asked as gRPC asks (https://grpc.io/docs/guides/health-checking/): the whole server, named "". */
const GRPC_HEALTH = "/grpc.health.v1.Health/Check";

/**
 * One look at a service: null when it is healthy, else a sentence about why not. Of HTTP a GET of the health path, answered with 2xx, or with
 * anything at all when there is none; of HTTP/2 the same without TLS, or gRPC's own health check; of a broker a connection.
 */
export async function lookAt(
  { protocol, healthPath }: Pick<ServiceInstance, "protocol" | "healthPath">,
  at: Endpoint,
): Promise<string | null> {
  if (protocol === "mqtt") return checkTcp(at);
  const answer = protocol === "h2c" ? await checkHttp2(at, healthPath) : await checkHttp(at, healthPath ?? "/");
  if (typeof answer === "string") return answer;
  return healthPath === null || (answer >= 200 && answer < 300) ? null : `${healthPath} answered ${answer}`;
}

/** Status code of a GET, or a sentence about why there is none. */
const checkHttp = ({ address, port }: Endpoint, path: string): Promise<number | string> =>
  new Promise((resolve) => {
    const asked = request(
      { host: address, port, path, timeout: LIMITS.healthCheckTimeoutMs, agent: false },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    asked.on("timeout", () => asked.destroy(new Error("no answer in time")));
    asked.on("error", (error) => resolve(error.message));
    asked.end();
  });

/** The same by HTTP/2. Without a path it is enough that the server speaks it. */
async function checkHttp2({ address, port }: Endpoint, path: string | null): Promise<number | string> {
  const session = connectHttp2(`http://${address.includes(":") ? `[${address}]` : address}:${port}`);
  const timer = setTimeout(() => session.destroy(new Error("no answer in time")), LIMITS.healthCheckTimeoutMs);
  try {
    return await new Promise((resolve) => {
      session.on("error", (error) => resolve(error.message));
      session.on("close", () => resolve("it closed the connection"));
      if (path === null) session.on("remoteSettings", () => resolve(200));
      else if (path === GRPC_HEALTH) askGrpc(session, resolve);
      else {
        const asked = session.request({ ":path": path });
        asked.on("error", (error) => resolve(error.message));
        asked.on("response", (fields) => resolve(Number(fields[":status"])));
      }
    });
  } finally {
    clearTimeout(timer);
    session.destroy();
  }
}

/** HealthCheckRequest with no field, and HealthCheckResponse with `status` 1, SERVING; before each whether it is compressed, and its length. */
const EVERYTHING = Buffer.from([0, 0, 0, 0, 0]);
const SERVING = Buffer.from([0, 0, 0, 0, 2, 0x08, 1]);

function askGrpc(session: ClientHttp2Session, resolve: (outcome: number | string) => void): void {
  const asked = session.request({
    ":method": "POST",
    ":path": GRPC_HEALTH,
    "content-type": "application/grpc",
    te: "trailers",
  });
  let said = Buffer.alloc(0);
  let status: unknown;
  // Without an answer the status is in the head.
  const hear = (fields: IncomingHttpHeaders): void => void (status ??= fields["grpc-status"]);
  asked.on("response", hear);
  asked.on("trailers", hear);
  asked.on("data", (part: Buffer) => {
    if (said.length <= SERVING.length) said = Buffer.concat([said, part]);
  });
  asked.on("error", (error) => resolve(error.message));
  asked.on("end", () => {
    if (status !== "0") resolve(`its gRPC health check ended with status ${String(status)}`);
    else resolve(said.equals(SERVING) ? 200 : "its gRPC health check says that it is not serving");
  });
  asked.end(EVERYTHING);
}

/** Null when a connection was made and stayed: a proxy of the engine takes any, and closes it at once when nobody listens behind it. */
const checkTcp = ({ address, port }: Endpoint): Promise<string | null> =>
  new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const timeout = setTimeout(() => socket.destroy(new Error("no connection in time")), LIMITS.healthCheckTimeoutMs);
    socket.once("connect", () => setTimeout(() => socket.destroy(), LIMITS.connectionStaysMs).unref());
    let failure: string | null = null;
    socket.once("error", (error) => (failure = error.message));
    socket.once("end", () => (failure = "it closes connections at once"));
    socket.once("close", () => {
      clearTimeout(timeout);
      resolve(failure);
    });
  });
