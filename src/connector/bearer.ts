import { decodeJwt } from "jose";
import { err, ok, type Result } from "../shared/result.ts";
import type { Logger } from "../shared/log.ts";
import { requestToken, type AccessToken, type ClientAuth } from "./access-token.ts";
import { createAsserter } from "./assertion.ts";
import { backoffMs } from "./backoff.ts";
import type { Credential } from "./credential.ts";
import { readPrivateFile } from "./credentials.ts";
import { defaultEndpoints, discover, type RelayEndpoints } from "./discovery.ts";
import type { LinkLoss } from "./ending.ts";
import { call, type Way } from "./http-call.ts";
import {
  TOKEN_FILE_POLL_MS,
  TOKEN_FRESH_MS,
  TOKEN_RENEW_AT,
  TOKEN_RENEW_LATEST_MS,
  TOKEN_RENEW_MIN_MS,
  TOKEN_RETRY,
  TOKEN_SPARE_MS,
} from "./limits.ts";

/** What a dial presents, and where the relay says that it is to be dialled. */
export interface Pass {
  readonly token: string;
  readonly endpoints: RelayEndpoints;
}

/** Proves this connector: an assertion of its own key, or a token that it gets and renews. */
export interface Bearer {
  /** For one dial. A loss of kind "auth" is final: who decides said no. */
  pass(): Promise<Result<Pass, LinkLoss>>;
  /** The relay did not take this token, or ended what it had taken it for. True: it was good once, so a new one is worth a try. */
  refused(token: string, wasTaken: boolean): boolean;
  /** When the current token runs out, by our clock; null: none is held, or it does not end. */
  readonly expiresAtMs: number | null;
  close(): void;
}

export interface BearerPorts {
  readonly way: Way;
  readonly log: Logger;
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  /** A new token was obtained before the old one ran out: for the live sessions. */
  readonly renewed: (token: string) => void;
}

export interface BearerIdentity {
  readonly relayUrl: URL;
  readonly tenant: string;
  /** Null: the relay tells by the secret. */
  readonly connector: string | null;
  readonly credential: Credential;
}

export function createBearer(identity: BearerIdentity, ports: BearerPorts): Bearer {
  const { credential, relayUrl } = identity;
  if (credential.kind !== "key") return tokenBearer(identity, ports, sourceOf(identity, credential, ports));
  const subject = clientIdOf(identity);
  const assertion = createAsserter({ ...credential, subject, audience: relayUrl.origin }, ports.now);
  const endpoints = defaultEndpoints(relayUrl);
  return {
    pass: async () => ok({ token: await assertion(), endpoints }),
    refused: () => false,
    expiresAtMs: null,
    close: () => undefined,
  };
}

/** Gets one token. */
type TokenSource = (endpoints: RelayEndpoints) => Promise<Result<AccessToken, LinkLoss>>;

function sourceOf(
  { tenant, connector }: BearerIdentity,
  credential: Exclude<Credential, { kind: "key" }>,
  { way, now }: BearerPorts,
): TokenSource {
  if (credential.kind === "token-file") return () => Promise.resolve(tokenFromFile(credential.path, now()));
  if (credential.kind === "secret") {
    const clientId = connector === null ? tenant : `${tenant}/${connector}`;
    const auth: ClientAuth = { kind: "secret", secret: credential.secret };
    return ({ token }) =>
      requestToken({ endpoint: token, clientId, auth, audience: null, scope: null, who: "the relay" }, way, now);
  }
  const { issuer, clientId, audience, scope } = credential;
  const who = `the issuer ${issuer.host}`;
  const auth: ClientAuth =
    credential.auth.kind === "secret"
      ? credential.auth
      : {
          kind: "assertion",
          assertion: createAsserter({ ...credential.auth, subject: clientId, audience: issuerName(issuer) }, now),
        };
  return async () => {
    const endpoint = await tokenEndpointOf(issuer, way);
    if (!endpoint.ok) return endpoint;
    return requestToken({ endpoint: endpoint.value, clientId, auth, audience, scope, who }, way, now);
  };
}

function tokenBearer(identity: BearerIdentity, ports: BearerPorts, source: TokenSource): Bearer {
  const { log, now, random } = ports;
  let held: (AccessToken & { endpoints: RelayEndpoints; obtainedMs: number }) | null = null;
  let last: string | null = null;
  let getting: Promise<Result<Pass, LinkLoss>> | null = null;
  let timer: NodeJS.Timeout | null = null;
  let failures = 0;
  let closed = false;

  /** Both lanes dial at once: they share one answer. */
  const obtain = (): Promise<Result<Pass, LinkLoss>> => {
    getting ??= fresh().finally(() => {
      getting = null;
    });
    return getting;
  };

  const fresh = async (): Promise<Result<Pass, LinkLoss>> => {
    const endpoints = await discover(identity.relayUrl, ports.way);
    if (!endpoints.ok) return endpoints;
    const token = await source(endpoints.value);
    if (!token.ok) return token;
    failures = 0;
    const named = saysWhoIsMeant(identity.credential)
      ? endpoints.value
      : withClientId(endpoints.value, clientIdOf(identity));
    held = { ...token.value, endpoints: named, obtainedMs: now() };
    // Whoever asked for it, live sessions get it as well: the other lane's still has the old one.
    if (last !== null && last !== held.token) ports.renewed(held.token);
    last = held.token;
    log.debug("token obtained", { expiresInMs: held.expiresAtMs === null ? null : held.expiresAtMs - now() });
    plan();
    return ok({ token: token.value.token, endpoints: named });
  };

  /** Renewed at a random moment in the last part of its life, so that a fleet does not come at once. */
  const plan = (): void => {
    if (timer !== null) clearTimeout(timer);
    if (closed || held === null) return;
    let pause = TOKEN_FILE_POLL_MS;
    if (identity.credential.kind !== "token-file") {
      if (held.expiresAtMs === null) return;
      const life = held.expiresAtMs - held.obtainedMs;
      const at = held.obtainedMs + life * (TOKEN_RENEW_AT + random() * (1 - TOKEN_RENEW_AT) * 0.5);
      pause = Math.min(Math.max(at - now(), TOKEN_RENEW_MIN_MS), TOKEN_RENEW_LATEST_MS);
    }
    if (failures > 0) pause = Math.max(TOKEN_RETRY.baseMs, backoffMs(failures, TOKEN_RETRY, random));
    timer = setTimeout(() => void renew(), pause);
    timer.unref();
  };

  const renew = async (): Promise<void> => {
    const got = await obtain();
    if (closed || got.ok) return;
    failures += 1;
    // Live sessions go on until the token that they have runs out; the relay ends them then.
    log.warn("the token could not be renewed", { reason: got.error.text, attempt: failures });
    plan();
  };

  const usable = (): boolean =>
    held !== null && (held.expiresAtMs === null || held.expiresAtMs - now() > TOKEN_SPARE_MS);

  return {
    async pass() {
      if (identity.credential.kind === "token-file" || held === null || !usable()) {
        const got = await obtain();
        if (!got.ok) return got;
      }
      if (held === null) return err({ kind: "retry", text: "the token was just refused", retryAfterMs: null });
      return ok({ token: held.token, endpoints: held.endpoints });
    },
    refused(token, wasTaken) {
      if (held === null || held.token !== token) return true; // another one is there already, or on its way
      const worthwhile = wasTaken || now() - held.obtainedMs >= TOKEN_FRESH_MS;
      if (worthwhile) held = null;
      return worthwhile;
    },
    get expiresAtMs() {
      return held?.expiresAtMs ?? null;
    },
    close() {
      closed = true;
      if (timer !== null) clearTimeout(timer);
    },
  };
}

const clientIdOf = ({ tenant, connector }: Pick<BearerIdentity, "tenant" | "connector">): string =>
  connector === null ? tenant : `${tenant}/${connector}`;

/** A token of the relay's own does; one of an outside issuer knows nothing of tenants. */
const saysWhoIsMeant = ({ kind }: Credential): boolean => kind === "secret" || kind === "key";

/** The dial names the connector beside a token that does not (docs/protocol.md, "Dialling and identity"). */
function withClientId(endpoints: RelayEndpoints, clientId: string): RelayEndpoints {
  const named = (url: URL): URL => {
    const copy = new URL(url);
    copy.searchParams.set("client", clientId);
    return copy;
  };
  return { ...endpoints, connect: { a: named(endpoints.connect.a), b: named(endpoints.connect.b) } };
}

/** The issuer's own discovery document (OpenID Connect Discovery 1.0, section 4) names its token endpoint. */
async function tokenEndpointOf(issuer: URL, way: Way): Promise<Result<URL, LinkLoss>> {
  const document = new URL(`${issuerName(issuer)}/.well-known/openid-configuration`);
  const answer = await call({ url: document, method: "GET" }, way);
  if (!answer.ok) return err({ ...answer.error, text: answer.error.text.replace("the relay", "the issuer") });
  const { status, json } = answer.value;
  const named = typeof json === "object" && json !== null && "token_endpoint" in json ? json.token_endpoint : null;
  if (status === 200 && typeof named === "string" && URL.canParse(named)) {
    const url = new URL(named);
    if (url.protocol === issuer.protocol || url.protocol === "https:") return ok(url);
  }
  const text = `the issuer ${issuer.host} has no usable discovery document (status ${status})`;
  return err({ kind: "retry", text, retryAfterMs: null });
}

const issuerName = (issuer: URL): string => issuer.href.replace(/\/$/, "");

function tokenFromFile(path: string, nowMs: number): Result<AccessToken, LinkLoss> {
  const read = readPrivateFile("token", path);
  // Whoever renews it may be replacing it just now.
  if (!read.ok) return err({ kind: "retry", text: read.error, retryAfterMs: null });
  const token = read.value.text.trim();
  if (!/^[\x21-\x7e]{8,8192}$/.test(token)) {
    return err({ kind: "retry", text: `the token file ${path} holds no token`, retryAfterMs: null });
  }
  try {
    const { exp } = decodeJwt(token);
    if (exp !== undefined && exp * 1000 <= nowMs) {
      return err({ kind: "retry", text: `the token in ${path} has run out: who renews it?`, retryAfterMs: null });
    }
    return ok({ token, expiresAtMs: exp === undefined ? null : exp * 1000 });
  } catch {
    return ok({ token, expiresAtMs: null });
  }
}
