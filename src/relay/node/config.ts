import { createHash, createPublicKey, X509Certificate, createPrivateKey } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { LineCounter, parseDocument, isNode, type Document } from "yaml";
import { z } from "zod";
import type { TenantRoute } from "../../policy/record.ts";
import { publicJwk, type PublicJwk } from "../../protocol/jwk.ts";
import type { ConnectorGrant, TenantSettings } from "../../protocol/lane.ts";
import { err, ok, type Result } from "../../shared/result.ts";
import { inputWords } from "../../shared/input-words.ts";
import { relayFile, type RelayFile, type TenantFile } from "./config-schema.ts";
import { CONFIG_BYTES_MAX } from "./limits.ts";

/** What the relay runs with: the file, with all files that it names read, and its tenants in the shapes that broker and policy take. */
export interface RelayConfig {
  readonly listen: { readonly visitors: Address; readonly connectors: Address | null; readonly admin: Address | null };
  /** PEM. */
  readonly tls: { readonly cert: string; readonly key: string } | null;
  readonly baseDomains: readonly [string, ...string[]];
  readonly scheme: "http" | "https";
  /** Lower case; null: the socket's address counts. */
  readonly addressHeader: string | null;
  readonly engine: RelayFile["engine"];
  readonly logLevel: RelayFile["logLevel"];
  readonly accessLog: boolean;
  readonly memoryBudgetBytes: number;
  readonly drainMs: number;
  readonly peer: { readonly url: URL; readonly secret: Buffer } | null;
  readonly tenants: readonly TenantConfig[];
  /** Every file that was read: a change of any of them is a change of the configuration. */
  readonly files: readonly string[];
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface TenantConfig {
  readonly tenantId: string;
  readonly slug: string;
  /** Custom hosts; `<slug>.<base>` is not among them. */
  readonly hosts: readonly string[];
  /** "member" stands for "holds a service token". */
  readonly routes: TenantRoute[];
  readonly defaultAccess: "public" | "token";
  readonly targetAccess: ReadonlyMap<string, "public" | "token">;
  readonly tokens: readonly ServiceToken[];
  readonly grants: readonly ConnectorGrant[];
  readonly settings: TenantSettings;
}

export interface ServiceToken {
  readonly name: string;
  readonly sha256: Buffer;
  readonly expiresAtMs: number | null;
}

/** `lane`: whose part of `lanes` counts. `revision`: of all grants and settings; it has to grow from reading to reading. */
export interface ReadOptions {
  readonly lane: "a" | "b" | "both";
  readonly revision: number;
}

/** Reads and checks everything. Errors name the member or file, never what stands in it. */
export function readRelayConfig(path: string, options: ReadOptions): Result<RelayConfig, string> {
  const file = resolve(path);
  const files = new Set([file]);
  const lines = new LineCounter();
  let yaml: Document | null = null;
  const withLine = (words: string): string => `${lineOf(yaml, lines, words)}${words}`;
  try {
    yaml = parseYaml(readText(file), lines);
    const document = relayFile.safeParse(yaml.toJS() ?? {}, { error: inputWords });
    if (!document.success) {
      const { issues } = document.error;
      const first = issues.filter(({ path }, i) => issues.findIndex((it) => it.path.join() === path.join()) === i);
      return err(first.map((issue) => withLine(wordsFor(issue))).join("; "));
    }
    const read = (name: string): string => {
      const found = resolve(dirname(file), name);
      files.add(found);
      return readText(found);
    };
    const config = resolved(document.data, options, read);
    return ok({ ...config, files: [...files] });
  } catch (error) {
    if (error instanceof ConfigError) return err(withLine(error.message));
    throw error;
  }
}

/** Carries a sentence for the operator out of the reading; never leaves this file. */
class ConfigError extends Error {}

function resolved(file: RelayFile, options: ReadOptions, read: (name: string) => string): Omit<RelayConfig, "files"> {
  const own = options.lane === "both" ? {} : (file.lanes[options.lane] ?? {});
  const visitors = own.listen?.visitors ?? file.listen.visitors;
  const connectors = own.listen?.connectors ?? file.listen.connectors ?? null;
  const admin = own.listen?.admin ?? file.listen.admin ?? null;
  const peer = own.peer ?? file.peer;
  if (peer !== undefined && options.lane === "both")
    throw new ConfigError("peer: only for --lane a or --lane b; one process has both lanes");
  const [first, ...others] = file.baseDomains;
  if (first === undefined) throw new ConfigError("baseDomains: name one");
  const tls = file.tls === undefined ? null : readTls(file.tls, read);
  const tenants = Object.entries(file.tenants).map(([slug, tenant]) =>
    at(`tenants.${slug}`, () => tenantOf(slug, tenant, options.revision, read)),
  );
  refuseSharedHosts(tenants, file.baseDomains);
  return {
    listen: { visitors, connectors, admin },
    tls,
    baseDomains: [first, ...others],
    scheme: file.publicScheme ?? (tls === null ? "http" : "https"),
    addressHeader: file.trustedAddressHeader?.toLowerCase() ?? null,
    engine: file.engine,
    logLevel: file.logLevel,
    accessLog: file.accessLog,
    memoryBudgetBytes: file.memoryBudgetMiB * 1024 * 1024,
    drainMs: file.drainSeconds * 1_000,
    peer:
      peer === undefined
        ? null
        : { url: new URL(peer.url), secret: at("peer.secretFile", () => peerSecret(read(peer.secretFile))) },
    tenants,
  };
}

function tenantOf(slug: string, tenant: TenantFile, revision: number, read: (name: string) => string): TenantConfig {
  const tenantId = stableId("ten", slug);
  const routes = tenant.routes.map(({ prefix, target, access = tenant.access, timeouts }): TenantRoute => ({
    prefix,
    access: access === "token" ? "member" : "public",
    to: { kind: "target", target },
    timeouts: timeouts ?? null,
  }));
  const twice = routes.find((route, index) => routes.findIndex(({ prefix }) => prefix === route.prefix) !== index);
  if (twice !== undefined) throw new ConfigError(`routes: ${twice.prefix} is there twice`);
  const tokens = Object.entries(tenant.tokens).map(([name, source]) =>
    at(`tokens.${name}`, () => ({
      name,
      sha256: Buffer.from(hashOf(source, read), "hex"),
      expiresAtMs: source.expiresAt ?? null,
    })),
  );
  const grants = Object.entries(tenant.connectors).map(([name, connector]) =>
    at(`connectors.${name}`, (): ConnectorGrant => {
      if (connector.keys.length + connector.secrets.length === 0 && connector.issuerSubject === undefined)
        throw new ConfigError("give it keys, secrets or an issuerSubject");
      return {
        tenantId,
        tenant: slug,
        connectorId: stableId("con", `${slug}/${name}`),
        name,
        revision,
        disabled: connector.disabled,
        keys: connector.keys.map((key, index) =>
          at(`keys.${index}`, () => ("kty" in key ? key : keyFromFile(read(key.file), key.kid))),
        ),
        secrets: connector.secrets.map((source, index) =>
          at(`secrets.${index}`, () => ({
            id: source.id ?? `secret-${index + 1}`,
            sha256: hashOf(source, read),
            expiresAtMs: source.expiresAt ?? null,
          })),
        ),
        issuerSubject: connector.issuerSubject ?? null,
        targets: connector.targets ?? null,
        readOnly: connector.readOnly,
        expiresAtMs: connector.expiresAt ?? null,
        config: connector.config === undefined ? null : { revision, json: JSON.stringify(connector.config) },
      };
    }),
  );
  return {
    tenantId,
    slug,
    hosts: tenant.hosts,
    routes,
    defaultAccess: tenant.access,
    targetAccess: new Map(Object.entries(tenant.targets).map(([name, { access = tenant.access }]) => [name, access])),
    tokens,
    grants,
    settings: { ...tenant.settings, tenantId, tenant: slug, revision, suspended: false, pairingUntilMs: null },
  };
}

/** The same for the same name at every start, on every machine: connectors' sessions and logs can be compared. */
function stableId(kind: "ten" | "con", name: string): string {
  const bytes = createHash("sha256").update(`causeway relay ${name}`).digest();
  return `${kind}_${Array.from(bytes.subarray(0, 20), (byte) => "0123456789abcdefghjkmnpqrstvwxyz".charAt(byte & 31)).join("")}`;
}

function refuseSharedHosts(tenants: readonly TenantConfig[], bases: readonly string[]): void {
  const owners = new Map<string, string>();
  for (const { slug, hosts } of tenants) {
    for (const host of hosts) {
      const owner = owners.get(host);
      if (owner !== undefined) throw new ConfigError(`tenants.${slug}.hosts: ${host} belongs to ${owner} already`);
      if (bases.some((base) => host === base || host.endsWith(`.${base}`)))
        throw new ConfigError(
          `tenants.${slug}.hosts: ${host} lies below a base domain; tenants have <slug>.<base> there by themselves`,
        );
      owners.set(host, slug);
    }
  }
}

function hashOf(
  source: { sha256?: string | undefined; file?: string | undefined },
  read: (name: string) => string,
): string {
  if (source.sha256 !== undefined) return source.sha256;
  const secret = read(source.file ?? "").trim();
  if (secret.length < 16) throw new ConfigError("file: a secret has at least 16 characters");
  return createHash("sha256").update(secret).digest("hex");
}

function peerSecret(text: string): Buffer {
  const secret = text.trim();
  if (secret.length < 32) throw new ConfigError("it holds a secret of at least 32 characters");
  return Buffer.from(secret);
}

const edJwk = z.object({ kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: z.string() });
const ecJwk = z.object({ kty: z.literal("EC"), crv: z.literal("P-256"), x: z.string(), y: z.string() });
const anyKey = z.union([edJwk, ecJwk]);

/** PEM or JWK. Its id is the RFC 7638 thumbprint unless it says otherwise. */
function keyFromFile(text: string, kid: string | undefined): PublicJwk {
  if (/PRIVATE KEY|"d"\s*:/.test(text))
    throw new ConfigError("the file holds a private key; the relay wants the public half only");
  const isPem = text.includes("-----BEGIN");
  const found = anyKey.safeParse(isPem ? pemJwk(text) : parseJson(text));
  if (!found.success) throw new ConfigError("the file holds no public Ed25519 or P-256 key (PEM or JWK)");
  const key = found.data;
  const named = isPem ? undefined : z.object({ kid: z.string() }).safeParse(parseJson(text)).data?.kid;
  const members =
    key.kty === "EC" ? { crv: key.crv, kty: key.kty, x: key.x, y: key.y } : { crv: key.crv, kty: key.kty, x: key.x };
  const thumbprint = createHash("sha256").update(JSON.stringify(members)).digest("base64url");
  return publicJwk.parse({ ...key, kid: kid ?? named ?? thumbprint });
}

function pemJwk(text: string): unknown {
  try {
    return createPublicKey(text).export({ format: "jwk" });
  } catch {
    throw new ConfigError("the file holds no PEM public key");
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ConfigError("the file is neither PEM nor JSON");
  }
}

function readTls(
  files: { certificate: string; key: string },
  read: (name: string) => string,
): { cert: string; key: string } {
  const cert = at("tls.certificate", () => read(files.certificate));
  const key = at("tls.key", () => read(files.key));
  let fits: boolean;
  try {
    fits = new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch {
    throw new ConfigError("tls: certificate and key are PEM files");
  }
  if (!fits) throw new ConfigError("tls: the key does not belong to the certificate");
  return { cert, key };
}

function readText(path: string): string {
  try {
    if (statSync(path).size > CONFIG_BYTES_MAX) throw new ConfigError(`${path} is too long`);
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(
      `${path} can't be read (${error instanceof Error && "code" in error ? String(error.code) : "unknown"})`,
    );
  }
}

function parseYaml(source: string, lineCounter: LineCounter): Document {
  const document = parseDocument(source, { lineCounter });
  const [first] = document.errors;
  if (first === undefined) return document;
  throw new ConfigError(`it is not YAML: ${(first.message.split("\n")[0] ?? "").replace(/:$/, "")}`);
}

/** `line 12: ` of the place that a sentence begins with, as far as the file goes along it; else nothing. */
function lineOf(document: Document | null, lines: LineCounter, words: string): string {
  const place = /^[\w.-]+(?=: )/.exec(words)?.[0].split(".") ?? [];
  for (let depth = place.length; depth > 0; depth--) {
    const node = document?.getIn(place.slice(0, depth), true);
    const offset = isNode(node) ? node.range?.[0] : undefined;
    if (offset !== undefined) return `line ${lines.linePos(offset).line}: `;
  }
  return "";
}

/** Puts the place in front of a sentence about it. */
function at<T>(place: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(`${place}${/^[a-z]+(?:\.|:)/i.test(error.message) ? "." : ": "}${error.message}`);
  }
}

/** One issue as a sentence with its place. Of a union the issues of the form that was meant. */
function wordsFor(issue: z.core.$ZodIssue, above: readonly PropertyKey[] = []): string {
  const path = [...above, ...issue.path];
  const where = path.map(String).join(".");
  if (issue.code === "unrecognized_keys") {
    return `${issue.keys.map((key) => (where === "" ? key : `${where}.${key}`)).join(", ")}: there is no such setting`;
  }
  if (issue.code === "invalid_union" && issue.message === "Invalid input") {
    const last = issue.errors.at(-1) ?? [];
    if (last.length > 0) return last.map((inner) => wordsFor(inner, path)).join("; ");
  }
  if (issue.code === "invalid_key") return `${where}: ${issue.issues.map(({ message }) => message).join("; ")}`;
  return `${where === "" ? "the file" : where}: ${issue.message}`;
}
