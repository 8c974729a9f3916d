import type { Socket } from "node:net";
import type { ConnectionOptions } from "node:tls";
import { Agent, request as targetRequest } from "undici";
import { localhostLookup } from "../shared/localhost-lookup.node.ts";
import { createLogger } from "../shared/log.ts";
import { createBearer, type Bearer } from "./bearer.ts";
import type { ConnectorConfig, Lane } from "./config.ts";
import type { Credential } from "./credential.ts";
import { dial, type DialOptions } from "./dial.ts";
import {
  ask,
  attempt,
  connectTcp,
  DOCTOR_SOFTWARE,
  endpoint,
  issuer,
  resolveHost,
  startTls,
  throughProxy,
} from "./doctor-steps.ts";
import type { LinkLoss } from "./ending.ts";
import { DIAL_TIMEOUT_MS } from "./limits.ts";
import type { NetworkFault, TlsProblem } from "./network-errors.ts";
import { proxyFor } from "./proxy.ts";
import type { TargetConfig, WebTargetConfig } from "./targets/target-config.ts";
import { readTargetFiles } from "./targets/target-files.ts";

/** One line of `causeway doctor`. No secrets in any of them. */
export interface Finding {
  readonly check: "proxy" | "dns" | "tcp" | "tls" | "relay" | "clock" | "token" | "credentials" | "target";
  /** What was looked at: a host, a lane, a target. */
  readonly subject: string;
  readonly result: "ok" | "failed" | "skipped";
  readonly detail: string;
  /** What to do; null unless it failed. */
  readonly remedy: string | null;
}

export interface DoctorOptions {
  readonly relayUrl: URL;
  /** PEM, trusted in addition. */
  readonly ca: string | null;
  readonly proxyEnv: ConnectorConfig["proxyEnv"];
  /** Null: no credential was named, so nobody signs in. */
  readonly identity: Pick<ConnectorConfig, "tenant" | "connector" | "credential" | "lanes"> | null;
  readonly targets: readonly TargetConfig[];
  readonly now: () => number;
}

/** Assertions allow for a minute; beyond half of it something is wrong with the clock. */
const CLOCK_TOLERANCE_MS = 30_000;

/** Follows the way of a connector step by step; what can't work after a failed step is left out. Targets are looked at in any case. */
export async function* diagnose(options: DoctorOptions): AsyncGenerator<Finding> {
  yield* relayFindings(options);
  for (const target of options.targets) if (target.kind === "web") yield await targetFinding(target, options.ca);
}

async function* relayFindings(options: DoctorOptions): AsyncGenerator<Finding> {
  const { relayUrl, now } = options;
  const found = proxyFor(relayUrl, options.proxyEnv);
  if (!found.ok) {
    yield failed("proxy", "this machine", found.error, "Correct the variable, or take it away if there is no proxy.");
    return;
  }
  const proxy = found.value?.url ?? null;
  const variable = found.value?.variable ?? "HTTPS_PROXY";
  yield ok("proxy", proxy?.host ?? "none", proxy === null ? "direct connection" : `from ${variable}`);
  const hop = proxy ?? relayUrl;
  const host = hop.hostname.replace(/^\[|\]$/g, "");
  const addresses = await attempt(resolveHost(host));
  if (!addresses.ok) {
    const remedy =
      proxy === null
        ? "Check the name, and this machine's DNS servers. Where only a proxy leads out, name it in HTTPS_PROXY."
        : `Check the proxy's name in ${variable}, and this machine's DNS servers.`;
    yield failed("dns", host, addresses.text, remedy);
    return;
  }
  yield ok("dns", host, addresses.value.join(", "));

  const { port, secure } = endpoint(hop);
  const direct = await attempt(connectTcp(host, port));
  if (!direct.ok) {
    const remedy =
      proxy === null
        ? `Allow outgoing TCP connections to ${host} port ${port} in the firewall. Where only a proxy leads out, name it in HTTPS_PROXY.`
        : `Check the proxy's host and port in ${variable}, and whether it runs.`;
    yield failed("tcp", `${host}:${port}`, direct.text, remedy);
    return;
  }
  yield ok("tcp", `${host}:${port}`, `connected in ${direct.ms} ms`);
  let socket: Socket = direct.value;
  if (proxy !== null) {
    socket.destroy();
    const tunnel = await attempt(throughProxy(proxy, relayUrl));
    if (!tunnel.ok) {
      const remedy = /status 407/.test(tunnel.text)
        ? `Give user and password in ${variable}: http://user:password@${proxy.host}, odd characters as %40. Proxies that want Kerberos or NTLM need an exception for this machine, or a helper such as px or cntlm.`
        : `Allow CONNECT to ${relayUrl.hostname} port ${endpoint(relayUrl).port} in the proxy, or put the name into NO_PROXY.`;
      yield failed("proxy", proxy.host, tunnel.text, remedy);
      return;
    }
    yield ok("proxy", proxy.host, `opened a tunnel in ${tunnel.ms} ms`);
    socket = tunnel.value;
  }

  if (proxy === null ? secure : endpoint(relayUrl).secure) {
    const tls = await attempt(startTls(socket, relayUrl.hostname, options.ca));
    if (!tls.ok) {
      const remedy = tls.tls === "no-tls" ? NO_TLS : await tlsRemedy(options, proxy, tls.tls);
      yield failed("tls", relayUrl.hostname, tls.text, remedy);
      return;
    }
    socket = tls.value;
    const only = options.ca !== null && !(await trustedWithout(options, proxy)) ? TRUSTED_BY_CA : "";
    const words = `${tls.value.getProtocol() ?? "TLS"}, certificate issued by ${issuer(tls.value)}${only}`;
    yield ok("tls", relayUrl.hostname, words);
  } else {
    yield skipped("tls", relayUrl.hostname, "plain http");
  }

  const answer = await attempt(ask(socket, relayUrl));
  socket.destroy();
  if (!answer.ok) {
    yield failed(
      "relay",
      relayUrl.host,
      answer.text,
      "Something on the way ends the connection: ask who runs the firewall.",
    );
    return;
  }
  const { status, own, date } = answer.value;
  if (!own) {
    const remedy =
      "Another server answers: check the address, and whether a firewall or sign-in page of the network stands between.";
    yield failed("relay", relayUrl.host, `status ${status}, not from a Causeway relay`, remedy);
    return;
  }
  yield ok("relay", relayUrl.host, `answered in ${answer.ms} ms`);
  const clock = clockFinding(date, now());
  yield clock;

  const { identity } = options;
  if (identity === null) {
    yield skipped("credentials", relayUrl.host, "no credentials were named (--credentials FILE)");
    return;
  }
  const way = { ca: options.ca, proxyEnv: options.proxyEnv, software: DOCTOR_SOFTWARE };
  const bearer = createBearer(
    { ...identity, relayUrl },
    { way, log: QUIET, now, random: Math.random, renewed: () => undefined },
  );
  const pass = await bearer.pass();
  bearer.close();
  if (!pass.ok) {
    const check = pass.error.kind === "auth" ? "credentials" : "token";
    yield failed(check, "access token", pass.error.text, tokenRemedy(pass.error, identity.credential));
    return;
  }
  if (identity.credential.kind !== "key") {
    const { expiresAtMs } = bearer;
    const life = expiresAtMs === null ? "" : `, good for ${Math.round((expiresAtMs - now()) / 1000)} s`;
    yield ok("token", "access token", `from ${SOURCE_WORDS[identity.credential.kind]}${life}`);
  }
  const who = identity.connector === null ? identity.tenant : `${identity.tenant}/${identity.connector}`;
  for (const lane of identity.lanes) {
    const loss = await dialLane(options, lane, bearer);
    yield loss === null
      ? ok("credentials", `lane ${lane}`, `${who} was accepted, WebSocket is open`)
      : failed(loss.kind === "auth" ? "credentials" : "relay", `lane ${lane}`, loss.text, dialRemedy(loss, clock));
  }
}

const NO_TLS = "Check scheme and port of the relay's address: something without TLS answers there.";
const TRUSTED_BY_CA = ", trusted by --ca only: something on the way may look into TLS";
const QUIET = createLogger("doctor", () => undefined);
const SOURCE_WORDS = {
  secret: "the relay's token endpoint",
  issuer: "the outside issuer",
  "token-file": "the token file",
} as const;

function tokenRemedy(loss: LinkLoss, credential: Credential): string {
  if (credential.kind === "token-file") return "See to what writes the token file.";
  if (loss.kind === "auth")
    return "Check client and secret where they were made: the secret may be old, mistyped or ended.";
  return "The relay is reached, but who gives the tokens is not: check its address, and the firewall's rules for it.";
}

async function trustedWithout({ relayUrl }: DoctorOptions, proxy: URL | null): Promise<boolean> {
  const again = proxy === null ? connectTcp(relayUrl.hostname, endpoint(relayUrl).port) : throughProxy(proxy, relayUrl);
  const seen = await attempt(again.then((socket) => startTls(socket, relayUrl.hostname, null)));
  if (seen.ok) seen.value.destroy();
  return seen.ok;
}

/** Who signed the certificate that was not trusted: on a network that looks into TLS it is the network's own firewall. */
async function tlsRemedy(options: DoctorOptions, proxy: URL | null, problem: TlsProblem): Promise<string> {
  const { relayUrl } = options;
  const again = proxy === null ? connectTcp(relayUrl.hostname, endpoint(relayUrl).port) : throughProxy(proxy, relayUrl);
  // Nothing is sent over this connection.
  const seen = await attempt(again.then((socket) => startTls(socket, relayUrl.hostname, null, false)));
  if (!seen.ok) return "The connection breaks during the TLS handshake: ask who runs the firewall or proxy.";
  const name = issuer(seen.value);
  seen.value.destroy();
  if (problem === "expired" || problem === "not-yet-valid")
    return `Check this machine's clock; if it is right, the certificate (issued by ${name}) must be renewed at the relay.`;
  if (problem === "other-name")
    return `Another server answers, or the relay has a wrong certificate (issued by ${name}): check the address and DNS, and whether a firewall stands between.`;
  return `The certificate was issued by ${name}. If that is a firewall of this site that looks into TLS, exempt ${relayUrl.hostname} from it, or trust it with --ca FILE; else check this machine's clock and certificates.`;
}

function clockFinding(dateMs: number, nowMs: number): Finding {
  if (Number.isNaN(dateMs)) return skipped("clock", "this machine", "the relay does not tell its time");
  const differenceMs = dateMs - nowMs;
  const seconds = Math.round(Math.abs(differenceMs) / 1000);
  if (Math.abs(differenceMs) <= CLOCK_TOLERANCE_MS)
    return ok("clock", "this machine", `within ${seconds + 1} s of the relay's`);
  const words = `${seconds} s ${differenceMs > 0 ? "behind" : "ahead of"} the relay's`;
  return failed("clock", "this machine", words, "Set the clock, best by NTP: credentials are valid for a minute only.");
}

function dialLane(options: DoctorOptions, lane: Lane, bearer: Bearer): Promise<LinkLoss | null> {
  const pass: DialOptions["pass"] = async () => {
    const got = await bearer.pass();
    return got.ok ? { ok: true, value: { url: got.value.endpoints.connect[lane], token: got.value.token } } : got;
  };
  return new Promise((resolve) => {
    dial(
      { pass, proxyEnv: options.proxyEnv, ca: options.ca, now: options.now, software: DOCTOR_SOFTWARE },
      {
        opened(socket) {
          socket.close(1000); // before HELLO: nobody takes it for a connector that came and went
          resolve(null);
        },
        failed: resolve,
      },
    );
  });
}

function dialRemedy(loss: LinkLoss, clock: Finding): string {
  if (loss.kind === "auth") {
    if (clock.result === "failed") return "Set the clock first: no credential is good while it is wrong.";
    return "Check in the console that the connector exists and is enabled, or make a new credentials file: causeway connector create.";
  }
  if (loss.kind === "version") return "Update this program.";
  return "The relay answers, but no WebSocket comes through: allow WebSocket upgrades in the proxy or firewall, or try again in a moment.";
}

const TARGET_REMEDY: Record<NetworkFault, string> = {
  unresolved: "Check the name in the target's address and this machine's DNS.",
  refused: "Is the service running, on that address and port? May this machine reach it?",
  timeout: "Nothing answers there: check the address, and firewalls between here and the service.",
  tls: "Name the file of its authority with --ca FILE or in tls.ca, or use http if it is on this machine.",
  reset:
    "It closed the connection or does not speak HTTP: check scheme (https instead of http?) and port. Servers that take only WebSockets, as brokers do, are right to close it.",
};

const TARGET_TLS_REMEDY: Readonly<Partial<Record<NonNullable<TlsProblem>, string>>> = {
  expired: "Renew the target's certificate, or check this machine's clock.",
  "not-yet-valid": "Check the clocks of this machine and of the target.",
  "other-name": "Write the address with a name that the certificate has, or say that name in tls.serverName.",
  "handshake-refused": "It may want a certificate of this connector: tls.certificate and tls.key.",
  version: "It speaks only older TLS than tls.minVersion allows.",
  "no-tls": "Write http instead of https in its address, or its port for TLS.",
};

async function targetFinding(target: WebTargetConfig, ca: string | null): Promise<Finding> {
  const files = readTargetFiles(target, ca);
  if (!files.ok) return failed("target", `${target.name} (${target.url.host})`, files.error, TARGET_REMEDY.tls);
  // Node's options that undici's own type knows too; it hands on all of them.
  const tls: Pick<ConnectionOptions, "ca" | "cert" | "key"> = files.value.tls;
  const dispatcher = new Agent({
    connect: { timeout: target.connectTimeoutMs, lookup: localhostLookup, allowH2: false, ...tls },
    headersTimeout: DIAL_TIMEOUT_MS,
  });
  const asked = await attempt(
    targetRequest(target.url, { dispatcher, headers: { "user-agent": DOCTOR_SOFTWARE } }).then(
      ({ statusCode, body }) => {
        body.on("error", () => undefined).destroy();
        return statusCode;
      },
    ),
  );
  await dispatcher.destroy();
  const subject = `${target.name} (${target.url.host})`;
  if (asked.ok) return ok("target", subject, `answered with status ${asked.value} in ${asked.ms} ms`);
  const certificate = asked.tls === null ? undefined : TARGET_TLS_REMEDY[asked.tls];
  return failed("target", subject, asked.text, certificate ?? TARGET_REMEDY[asked.fault]);
}

// ---- words

const ok = (check: Finding["check"], subject: string, detail: string): Finding => ({
  check,
  subject,
  result: "ok",
  detail,
  remedy: null,
});
const skipped = (check: Finding["check"], subject: string, detail: string): Finding => ({
  check,
  subject,
  result: "skipped",
  detail,
  remedy: null,
});
const failed = (check: Finding["check"], subject: string, detail: string, remedy: string): Finding => ({
  check,
  subject,
  result: "failed",
  detail,
  remedy,
});
