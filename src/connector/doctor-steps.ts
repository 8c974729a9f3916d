import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect as tcpConnect, type Socket } from "node:net";
import { connect as tlsConnect, getCACertificates, type TLSSocket } from "node:tls";
import { localhostLookup } from "../shared/localhost-lookup.node.ts";
import { connectThrough } from "./dial.ts";
import { ADDRESS_TIMEOUT_MS, DIAL_TIMEOUT_MS } from "./limits.ts";
import { networkError, plainWords, tlsProblem, type NetworkFault, type TlsProblem } from "./network-errors.ts";

/** The way to the relay in single steps, for the doctor. Each rejects with what the system says. */
export const DOCTOR_SOFTWARE = "causeway-doctor";

export const resolveHost = (host: string): Promise<string[]> =>
  new Promise((resolve, reject) => {
    localhostLookup(host, { all: true }, (error, found) => {
      if (error !== null) reject(error);
      else resolve(typeof found === "string" ? [found] : found.map(({ address }) => address));
    });
  });

export function connectTcp(host: string, port: number): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = tcpConnect({
    host,
    port,
    lookup: localhostLookup,
    autoSelectFamilyAttemptTimeout: ADDRESS_TIMEOUT_MS,
  });
  socket.setTimeout(DIAL_TIMEOUT_MS, () => socket.destroy(timedOut()));
  socket.once("connect", () => {
    socket.setTimeout(0);
    resolve(socket);
  });
  socket.on("error", reject); // stays: without a listener an error would end the process
  return promise;
}

export function throughProxy(proxy: URL, relayUrl: URL): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const wanted = new URL(relayUrl);
  wanted.protocol = relayUrl.protocol === "https:" ? "wss:" : "ws:";
  const request = connectThrough(proxy, wanted, DOCTOR_SOFTWARE, resolve, (loss) =>
    reject(new Error(loss.text.replace(`the proxy ${proxy.host}: `, ""))),
  );
  const timer = setTimeout(() => {
    request.destroy();
    reject(timedOut());
  }, DIAL_TIMEOUT_MS);
  return promise.finally(() => clearTimeout(timer));
}

export function startTls(socket: Socket, host: string, ca: string | null, verify = true): Promise<TLSSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const servername = /^[\d.]+$|^\[/.test(host) ? "" : host;
  const trust = ca === null ? {} : { ca: [...getCACertificates("default"), ca] };
  const secure = tlsConnect({ socket, servername, rejectUnauthorized: verify, ...trust });
  secure.setTimeout(DIAL_TIMEOUT_MS, () => secure.destroy(timedOut()));
  secure.once("secureConnect", () => {
    secure.setTimeout(0);
    resolve(secure);
  });
  secure.on("error", reject);
  return promise;
}

export function issuer(socket: TLSSocket): string {
  const { O: organization, CN: name } = socket.getPeerCertificate().issuer ?? {};
  const first = (value: string | string[] | undefined): string | undefined => (Array.isArray(value) ? value[0] : value);
  return `"${first(organization) ?? first(name) ?? "nobody named"}"`;
}

/** `own`: a relay of ours, told by the header on its refusal of anything but an upgrade. */
export function ask(socket: Socket, relayUrl: URL): Promise<{ status: number; own: boolean; date: number }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; own: boolean; date: number }>();
  const request = httpRequest(
    {
      createConnection: () => socket,
      path: "/connect/a",
      headers: { host: relayUrl.host, "user-agent": DOCTOR_SOFTWARE, connection: "close" },
      timeout: DIAL_TIMEOUT_MS,
    },
    (response: IncomingMessage) => {
      const { statusCode = 0, headers } = response;
      response.destroy();
      resolve({
        status: statusCode,
        own: headers["causeway-error"] !== undefined,
        date: Date.parse(headers.date ?? ""),
      });
    },
  );
  request.once("timeout", () => request.destroy(timedOut()));
  request.on("error", reject);
  request.end();
  return promise;
}

type Attempted<T> =
  | { readonly ok: true; readonly value: T; readonly ms: number }
  | { readonly ok: false; readonly text: string; readonly fault: NetworkFault; readonly tls: TlsProblem };

export async function attempt<T>(step: Promise<T>): Promise<Attempted<T>> {
  const startMs = performance.now();
  try {
    const value = await step;
    return { ok: true, value, ms: Math.round(performance.now() - startMs) };
  } catch (error) {
    const what = networkError(error);
    return { ok: false, fault: what.fault, tls: tlsProblem(what), text: plainWords(what) };
  }
}

const timedOut = (): Error => Object.assign(new Error(`no answer within ${DIAL_TIMEOUT_MS} ms`), { code: "ETIMEDOUT" });

export function endpoint(url: URL): { port: number; secure: boolean } {
  const secure = url.protocol === "https:" || url.protocol === "wss:";
  return { secure, port: url.port === "" ? (secure ? 443 : 80) : Number(url.port) };
}
