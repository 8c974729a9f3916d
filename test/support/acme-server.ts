import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:https";
import { calculateJwkThumbprint, decodeProtectedHeader, flattenedVerify, importJWK, type JWK } from "jose";
import { z } from "zod";
import { newAuthority, selfSigned } from "./certificate.ts";
import { listenOnLoopback } from "./listen.ts";

/**
 * A small ACME server (RFC 8555) that really checks what it is sent: nonces, signatures, and the challenges by asking for them. Pebble, the
 * server that Let's Encrypt offers for tests, comes as Go source only and is not on every machine.
 */
export interface AcmeServer {
  readonly directoryUrl: string;
  /** PEM, of the server's own TLS certificate. */
  readonly ca: string;
  /** From now on orders are refused. */
  refuse(detail: string | null): void;
  close(): Promise<void>;
}

export interface AcmeServerOptions {
  readonly lifetimeSeconds: number;
  /** TXT values of a name, as the server's resolver sees them. */
  readonly txt: (name: string) => Promise<readonly string[]> | readonly string[];
  /** Where port 80 of every name is. */
  readonly httpPort: number;
}

interface Authorization {
  readonly name: string;
  readonly wildcard: boolean;
  readonly token: string;
  status: "pending" | "valid" | "invalid";
}
interface Order {
  readonly names: readonly string[];
  readonly authorizations: readonly string[];
  certificate: string | null;
}
interface Answer {
  readonly status: number;
  readonly body: object | string;
  readonly location?: string;
}

const jws = z.object({ protected: z.string(), payload: z.string(), signature: z.string() });
const orderPayload = z.object({ identifiers: z.array(z.object({ type: z.literal("dns"), value: z.string() })) });
const finalizePayload = z.object({ csr: z.string() });

const problem = (status: number, type: string, detail: string): Answer => ({
  status,
  body: { type: `urn:ietf:params:acme:error:${type}`, detail, status },
});

export async function startAcmeServer(options: AcmeServerOptions): Promise<AcmeServer> {
  const tls = selfSigned({ dns: ["localhost"], ip: ["127.0.0.1"] });
  const authority = newAuthority();
  const nonces = new Set<string>();
  const accounts = new Map<string, JWK>();
  const orders = new Map<string, Order>();
  const authorizations = new Map<string, Authorization>();
  let refusal: string | null = null;
  let base = "";

  const id = (): string => randomBytes(8).toString("hex");
  const newNonce = (): string => {
    const nonce = randomBytes(16).toString("base64url");
    nonces.add(nonce);
    return nonce;
  };

  /** The account and what it sent; an answer if the message can't be true. */
  const verify = async (
    body: string,
    url: string,
  ): Promise<{ account: string; jwk: JWK; payload: string } | Answer> => {
    const message = jws.parse(JSON.parse(body));
    const { nonce, url: signedUrl, kid, jwk } = decodeProtectedHeader(message);
    if (typeof nonce !== "string" || !nonces.delete(nonce))
      return problem(400, "badNonce", "not a nonce of this server");
    if (signedUrl !== `${base}${url}`) return problem(401, "unauthorized", "signed for another address");
    const known = typeof kid === "string" ? accounts.get(kid) : jwk;
    if (known === undefined) return problem(400, "accountDoesNotExist", "no such account");
    const { payload } = await flattenedVerify(message, await importJWK(known, "ES256"));
    const account = typeof kid === "string" ? kid : `${base}/account/${await calculateJwkThumbprint(known)}`;
    return { account, jwk: known, payload: new TextDecoder().decode(payload) };
  };

  const orderBody = (orderId: string, { names, authorizations: ids, certificate }: Order): object => {
    const states = ids.map((each) => authorizations.get(each)?.status);
    const open = states.every((state) => state === "valid") ? "ready" : "pending";
    return {
      status: certificate !== null ? "valid" : states.includes("invalid") ? "invalid" : open,
      identifiers: names.map((value) => ({ type: "dns", value })),
      authorizations: ids.map((each) => `${base}/authorization/${each}`),
      finalize: `${base}/finalize/${orderId}`,
      ...(certificate === null ? {} : { certificate: `${base}/certificate/${orderId}` }),
    };
  };
  const challengeBody = (authorizationId: string, type: string, { token, status }: Authorization): object => ({
    type,
    url: `${base}/challenge/${authorizationId}/${type}`,
    status,
    token,
  });

  /** Asks for what the account should have put there. */
  const look = async (authorization: Authorization, type: string, jwk: JWK): Promise<boolean> => {
    const expected = `${authorization.token}.${await calculateJwkThumbprint(jwk)}`;
    if (type === "dns-01") {
      const value = createHash("sha256").update(expected).digest("base64url");
      return (await options.txt(`_acme-challenge.${authorization.name}`)).includes(value);
    }
    const path = `/.well-known/acme-challenge/${authorization.token}`;
    const response = await fetch(`http://127.0.0.1:${options.httpPort}${path}`).catch(() => null);
    return response?.status === 200 && (await response.text()).trim() === expected;
  };

  const answer = async (method: string, url: string, body: string): Promise<Answer> => {
    if (url === "/directory") {
      const at = (name: string): string => `${base}/${name}`;
      return { status: 200, body: { newNonce: at("nonce"), newAccount: at("accounts"), newOrder: at("orders") } };
    }
    if (url === "/nonce") return { status: method === "HEAD" ? 200 : 204, body: "" };
    const verified = await verify(body, url);
    if ("status" in verified) return verified;
    const { account, jwk, payload } = verified;
    const [, what = "", one = "", type = ""] = url.split("/");
    if (what === "accounts") {
      const status = accounts.has(account) ? 200 : 201;
      accounts.set(account, jwk);
      return { status, body: { status: "valid" }, location: account };
    }
    if (what === "account") return { status: 200, body: { status: "valid" }, location: account };
    if (what === "orders") {
      if (refusal !== null) return problem(403, "rejectedIdentifier", refusal);
      const names = orderPayload.parse(JSON.parse(payload)).identifiers.map(({ value }) => value);
      const ids = names.map((name) => {
        const wildcard = name.startsWith("*.");
        const made = id();
        authorizations.set(made, { name: name.replace(/^\*\./, ""), wildcard, token: id(), status: "pending" });
        return made;
      });
      const order: Order = { names, authorizations: ids, certificate: null };
      const made = id();
      orders.set(made, order);
      return { status: 201, body: orderBody(made, order), location: `${base}/order/${made}` };
    }
    const authorization = authorizations.get(one);
    if (authorization !== undefined && what === "authorization") {
      const { name, wildcard, status } = authorization;
      const types = wildcard ? ["dns-01"] : ["http-01", "dns-01"];
      const challenges = types.map((each) => challengeBody(one, each, authorization));
      return { status: 200, body: { status, identifier: { type: "dns", value: name }, wildcard, challenges } };
    }
    if (authorization !== undefined && what === "challenge") {
      authorization.status = (await look(authorization, type, jwk)) ? "valid" : "invalid";
      return { status: 200, body: challengeBody(one, type, authorization) };
    }
    const order = orders.get(one);
    if (order === undefined) return problem(404, "malformed", "no such thing");
    if (what === "finalize") {
      if (order.authorizations.some((each) => authorizations.get(each)?.status !== "valid"))
        return problem(403, "orderNotReady", "not all names were shown");
      const { csr } = finalizePayload.parse(JSON.parse(payload));
      order.certificate = authority.issue(Buffer.from(csr, "base64url"), order.names, options.lifetimeSeconds);
    }
    if (what === "certificate") return { status: 200, body: order.certificate ?? "" };
    return { status: 200, body: orderBody(one, order), location: `${base}/order/${one}` };
  };

  const server = createServer({ cert: tls.cert, key: tls.key }, (request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (part: string) => (body += part));
    request.on("end", () => {
      const respond = async (): Promise<void> => {
        const made = answer(request.method ?? "GET", request.url ?? "/", body);
        const {
          status,
          body: content,
          location,
        } = await made.catch((error: unknown) => problem(400, "malformed", String(error)));
        const json = status >= 400 ? "application/problem+json" : "application/json";
        response.writeHead(status, {
          "replay-nonce": newNonce(),
          "content-type": typeof content === "string" ? "application/pem-certificate-chain" : json,
          ...(location === undefined ? {} : { location }),
        });
        response.end(typeof content === "string" ? content : JSON.stringify(content));
      };
      respond().catch(() => response.destroy());
    });
  });
  base = `https://127.0.0.1:${await listenOnLoopback(server)}`;
  return {
    directoryUrl: `${base}/directory`,
    ca: tls.cert,
    refuse: (detail) => (refusal = detail),
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
