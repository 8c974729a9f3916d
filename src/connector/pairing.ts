import { generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { calculateJwkThumbprint } from "jose";
import { z } from "zod";
import type { Logger } from "../shared/log.ts";
import { err, ok, type Result } from "../shared/result.ts";
import { createAsserter } from "./assertion.ts";
import { pauseMs, retryAfterMs } from "./backoff.ts";
import { readCredentials, type KeyCredentials } from "./credentials.ts";
import { dial } from "./dial.ts";
import { discover } from "./discovery.ts";
import type { LinkLoss } from "./ending.ts";
import { call, type HttpAnswer, type Way } from "./http-call.ts";
import { PAIRING_POLL_MS, RETRY_AFTER_CAP_MS } from "./limits.ts";

export interface PairingIdentity {
  readonly relayUrl: URL;
  readonly tenant: string;
  readonly connector: string;
  /** Where the key is, or is put (mode 0600). */
  readonly file: string;
}

export interface PairingPorts {
  readonly way: Way;
  readonly log: Logger;
  readonly now: () => number;
  readonly random: () => number;
  /** Ends the wait. */
  readonly signal: AbortSignal;
}

export type PairingEnd =
  /** The relay takes the key: connect. */
  | { readonly kind: "accepted" }
  /** It can't be asked in this way: `text` is for people. */
  | { readonly kind: "refused"; readonly text: string }
  | { readonly kind: "aborted" };

/**
 * The key of the credentials file; when there is none yet, a new Ed25519 key is made and the file written. It is kept from the first
 * moment, so that a restart asks with the same key.
 */
export async function ensureKey(identity: PairingIdentity): Promise<Result<KeyCredentials, string>> {
  const { file, relayUrl, tenant, connector } = identity;
  const { x = "", d = "" } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  const privateKey = { kty: "OKP", crv: "Ed25519", x, d } as const;
  const keyId = await calculateJwkThumbprint(privateKey);
  const made: KeyCredentials = { relayUrl: relayUrl.origin, tenant, connector, keyId, privateKey };
  try {
    writeFileSync(file, `${JSON.stringify(made, null, 2)}\n`, { flag: "wx", mode: 0o600 });
    return ok(made);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
    if (code !== "EEXIST") return err(`the credentials file ${file} can't be written (${code})`);
  }
  const read = readCredentials(file);
  if (!read.ok) return read;
  const { credentials } = read.value;
  return "privateKey" in credentials ? ok(credentials) : err(`${file} holds a secret: pairing is for keys`);
}

/** For people to compare: 16 hexadecimal digits of the key's SHA-256 thumbprint (RFC 7638). */
export async function fingerprintOf({ privateKey }: Pick<KeyCredentials, "privateKey">): Promise<string> {
  const thumbprint = Buffer.from(await calculateJwkThumbprint(privateKey), "base64url");
  const digits = thumbprint.toString("hex", 0, 8).toUpperCase();
  return (digits.match(/.{4}/g) ?? []).join("-");
}

/** Asks to be let in, and waits until a member has said yes: then the relay takes the key. */
export async function pair(identity: PairingIdentity, key: KeyCredentials, ports: PairingPorts): Promise<PairingEnd> {
  const { log, signal, random } = ports;
  const fingerprint = await fingerprintOf(key);
  let told: string | null = null;
  let pending: string | null = null;
  let accepted = false;
  for (;;) {
    const step: Step =
      pending === null || accepted ? await begin(identity, key, accepted, ports) : await look(identity, pending, ports);
    if (signal.aborted) return { kind: "aborted" };
    if (step.kind === "refused" || step.kind === "in") return step.kind === "in" ? { kind: "accepted" } : step;
    if (step.kind === "pending") pending = step.id;
    if (step.kind === "accepted") accepted = true;
    if (step.text !== told) log.warn(step.text, { fingerprint });
    told = step.text;
    const own = PAIRING_POLL_MS * (0.5 + random());
    const waitMs = step.kind === "wait" ? step.waitMs : null;
    if (!(await pause(pauseMs(own, waitMs, RETRY_AFTER_CAP_MS, random), signal))) return { kind: "aborted" };
  }
}

type Step =
  | { readonly kind: "in" }
  | { readonly kind: "refused"; readonly text: string }
  /** The relay holds our request under this id. */
  | { readonly kind: "pending"; readonly id: string; readonly text: string }
  | { readonly kind: "accepted"; readonly text: string }
  | { readonly kind: "wait"; readonly text: string; readonly waitMs: number | null };

/** Tries the key, and asks when the relay does not know it. Once a member said yes, the lanes may take a moment to know. */
async function begin(
  identity: PairingIdentity,
  key: KeyCredentials,
  accepted: boolean,
  ports: PairingPorts,
): Promise<Step> {
  const loss = await tryDial(identity, key, ports);
  if (loss === null) return { kind: "in" };
  if (loss.kind === "retry") return { kind: "wait", text: loss.text, waitMs: loss.retryAfterMs };
  if (loss.kind !== "auth") return { kind: "refused", text: loss.text };
  return accepted
    ? { kind: "accepted", text: "accepted; the relay will know in a moment" }
    : await ask(identity, key, ports);
}

const pairingAnswer = z.object({ id: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/) });
const pairingStatus = z.object({ status: z.enum(["pending", "accepted"]) });

async function ask(identity: PairingIdentity, key: KeyCredentials, { way, now }: PairingPorts): Promise<Step> {
  const endpoints = await discover(identity.relayUrl, way);
  if (!endpoints.ok) return { kind: "wait", text: endpoints.error.text, waitMs: null };
  const { kty, crv, x } = key.privateKey;
  const point = "y" in key.privateKey ? { y: key.privateKey.y } : {};
  const body = JSON.stringify({
    tenant: identity.tenant,
    connector: identity.connector,
    key: { kty, crv, x, ...point, kid: key.keyId },
    software: way.software,
  });
  const headers = { "content-type": "application/json" };
  const answer = await call({ url: endpoints.value.pairing, method: "POST", headers, body }, way);
  if (!answer.ok) return { kind: "wait", text: answer.error.text, waitMs: null };
  const asked = pairingAnswer.safeParse(answer.value.json);
  if (answer.value.status === 202 && asked.success) {
    const text = "asked to be let in: a member of the tenant must accept this connector, comparing the fingerprint";
    return { kind: "pending", id: asked.data.id, text };
  }
  return notGiven(answer.value, now());
}

async function look(identity: PairingIdentity, id: string, { way, now }: PairingPorts): Promise<Step> {
  const endpoints = await discover(identity.relayUrl, way);
  if (!endpoints.ok) return { kind: "wait", text: endpoints.error.text, waitMs: null };
  const url = new URL(endpoints.value.pairing);
  url.pathname = `${url.pathname.replace(/\/$/, "")}/${id}`;
  url.searchParams.set("tenant", identity.tenant);
  const answer = await call({ url, method: "GET" }, way);
  if (!answer.ok) return { kind: "wait", text: answer.error.text, waitMs: null };
  const found = pairingStatus.safeParse(answer.value.json);
  if (answer.value.status !== 200 || !found.success) return notGiven(answer.value, now());
  if (found.data.status === "accepted") return { kind: "accepted", text: "a member accepted this connector" };
  return { kind: "pending", id, text: "waiting for a member of the tenant to accept this connector" };
}

function notGiven({ status, json, headers }: HttpAnswer, nowMs: number): Step {
  const detail = detailOf(json);
  const says = detail === "" ? `status ${status}` : `${detail} (status ${status})`;
  if (status !== 429 && status < 500) return { kind: "refused", text: `not let in: ${says}` };
  return {
    kind: "wait",
    text: `the relay can't be asked just now: ${says}`,
    waitMs: retryAfterMs(headers["retry-after"], nowMs),
  };
}

/** Whether the relay takes the key: opens the socket and closes it before HELLO, so that nobody takes it for a connector. */
function tryDial(identity: PairingIdentity, key: KeyCredentials, ports: PairingPorts): Promise<LinkLoss | null> {
  const { relayUrl, tenant, connector } = identity;
  const url = new URL("/connect/a", relayUrl);
  url.protocol = relayUrl.protocol === "https:" ? "wss:" : "ws:";
  const assertion = createAsserter({ ...key, subject: `${tenant}/${connector}`, audience: relayUrl.origin }, ports.now);
  const { promise, resolve } = Promise.withResolvers<LinkLoss | null>();
  const abort = dial(
    { ...ports.way, now: ports.now, pass: async () => ok({ url, token: await assertion() }) },
    {
      opened(socket) {
        socket.close(1000);
        resolve(null);
      },
      failed: resolve,
    },
  );
  const aborted = (): void => {
    abort();
    resolve(null);
  };
  ports.signal.addEventListener("abort", aborted, { once: true });
  return promise.finally(() => ports.signal.removeEventListener("abort", aborted));
}

/** False: aborted. */
function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const aborted = (): void => resolve(false);
  const timer = setTimeout(() => resolve(true), ms);
  signal.addEventListener("abort", aborted, { once: true });
  return promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener("abort", aborted);
  });
}

function detailOf(json: unknown): string {
  const detail = typeof json === "object" && json !== null && "detail" in json ? json.detail : null;
  return typeof detail === "string" ? detail.slice(0, 300) : "";
}
