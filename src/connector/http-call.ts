import { getCACertificates } from "node:tls";
import { Agent, ProxyAgent, request, type Dispatcher } from "undici";
import { localhostLookup } from "../shared/localhost-lookup.node.ts";
import { err, ok, type Result } from "../shared/result.ts";
import { lossOfNetwork, type LinkLoss } from "./ending.ts";
import { ADDRESS_TIMEOUT_MS, ANSWER_BYTES, DIAL_TIMEOUT_MS } from "./limits.ts";
import { networkError } from "./network-errors.ts";
import { proxyFor } from "./proxy.ts";

/** How this site reaches the platform: through which proxy, and whom it trusts. Certificates are always verified. */
export interface Way {
  /** PEM, trusted in addition to the machine's certificates. */
  readonly ca: string | null;
  /** Where HTTPS_PROXY and NO_PROXY are looked up. */
  readonly proxyEnv: Readonly<Record<string, string | undefined>>;
  readonly software: string;
}

export interface HttpCall {
  readonly url: URL;
  readonly method: "GET" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Parsed JSON; undefined when the body is none or too long. */
  readonly json: unknown;
}

/** One short call of a control endpoint, at most DIAL_TIMEOUT_MS. Redirects are not followed: a secret goes only where it was meant to. */
export async function call(asked: HttpCall, way: Way): Promise<Result<HttpAnswer, LinkLoss>> {
  const trust = way.ca === null ? {} : { ca: [...getCACertificates("default"), way.ca] };
  const found = proxyFor(asked.url, way.proxyEnv);
  if (!found.ok) return err({ kind: "retry", text: found.error, retryAfterMs: null });
  const proxy = found.value?.url ?? null;
  const connect = {
    timeout: DIAL_TIMEOUT_MS,
    lookup: localhostLookup,
    autoSelectFamilyAttemptTimeout: ADDRESS_TIMEOUT_MS,
    ...trust,
  };
  const dispatcher: Dispatcher =
    proxy === null
      ? new Agent({ connect })
      : new ProxyAgent({ uri: proxy.href, proxyTunnel: true, requestTls: connect, proxyTls: connect });
  try {
    const answer = await request(asked.url, {
      dispatcher,
      method: asked.method,
      headers: { accept: "application/json", "user-agent": way.software, ...asked.headers },
      body: asked.body ?? null,
      signal: AbortSignal.timeout(DIAL_TIMEOUT_MS),
    });
    const headers = Object.fromEntries(
      Object.entries(answer.headers).map(([name, value]) => [name, Array.isArray(value) ? value[0] : value]),
    );
    return ok({ status: answer.statusCode, headers, json: await jsonOf(answer.body) });
  } catch (error) {
    return err(lossOfNetwork(timedOut(error) ? TIMED_OUT : networkError(error)));
  } finally {
    void dispatcher.destroy();
  }
}

const TIMED_OUT = { fault: "timeout", code: "timeout", message: `no answer within ${DIAL_TIMEOUT_MS} ms` } as const;
const timedOut = (error: unknown): boolean => error instanceof Error && error.name === "TimeoutError";

async function jsonOf(body: AsyncIterable<Buffer>): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES) return undefined;
    chunks.push(chunk);
  }
  try {
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString());
    return value;
  } catch {
    return undefined;
  }
}
