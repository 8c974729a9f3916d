import { z } from "zod";
import { parseBaseDomains } from "../policy/host.ts";
import { readMailSettings, type MailSettings } from "./mail/settings.ts";

/** Who may make an account: anybody with a mailbox, people with an invitation, nobody (operators still can). */
export type SignUpPolicy = "open" | "invited" | "closed";

/** An OpenID Connect provider that people may sign in with. */
export interface OidcSettings {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** On the button. */
  readonly name: string;
}

export interface PortalSettings {
  /** The first is the platform's own; the portal lives on its bare domain. */
  readonly baseDomains: readonly [string, ...string[]];
  readonly publicScheme: "http" | "https";
  /** Empty for the scheme's default. */
  readonly publicPort: string;
  readonly authSecret: string;
  readonly signUp: SignUpPolicy;
  readonly mail: MailSettings;
  readonly oidc: OidcSettings | null;
  /** Tenants that somebody with a confirmed address may create; 0: only operators create tenants. */
  readonly tenantsPerAccount: number;
}

/** Variables and secrets of src/portal/wrangler.toml. Those that are absent count as empty. */
export interface SettingsEnv {
  readonly BASE_DOMAINS: string;
  readonly PUBLIC_SCHEME: string;
  readonly PUBLIC_PORT: string;
  readonly AUTH_SECRET: string;
  readonly SIGN_UP?: string;
  readonly MAIL?: string;
  readonly MAIL_KEY?: string;
  readonly OIDC?: string;
  readonly OIDC_CLIENT_SECRET?: string;
  readonly TENANTS_PER_ACCOUNT?: string;
}

/** Throws a sentence about the variable that is wrong; values are never quoted. */
export function readSettings(env: SettingsEnv): PortalSettings {
  if (env.PUBLIC_SCHEME !== "http" && env.PUBLIC_SCHEME !== "https") throw new Error("PUBLIC_SCHEME is http or https");
  if (!/^[0-9]{0,5}$/.test(env.PUBLIC_PORT)) throw new Error("PUBLIC_PORT is a port or empty");
  const baseDomains = parseBaseDomains(env.BASE_DOMAINS);
  return {
    baseDomains,
    publicScheme: env.PUBLIC_SCHEME,
    publicPort: env.PUBLIC_PORT,
    authSecret: env.AUTH_SECRET,
    signUp: readSignUp(env.SIGN_UP ?? ""),
    mail: readMailSettings(env.MAIL ?? "", env.MAIL_KEY ?? "", baseDomains[0]),
    oidc: readOidc(env.OIDC ?? "", env.OIDC_CLIENT_SECRET ?? ""),
    tenantsPerAccount: readTenantsPerAccount(env.TENANTS_PER_ACCOUNT ?? ""),
  };
}

function readSignUp(text: string): SignUpPolicy {
  if (text === "") return "invited";
  if (text === "open" || text === "invited" || text === "closed") return text;
  throw new Error("SIGN_UP is open, invited or closed");
}

function readTenantsPerAccount(text: string): number {
  if (!/^[0-9]{0,3}$/.test(text)) throw new Error("TENANTS_PER_ACCOUNT is a number from 0 to 999");
  return Number(text);
}

const oidcSettings = z.strictObject({
  issuer: z.url({ protocol: /^https?$/ }),
  clientId: z.string().min(1).max(200),
  name: z.string().min(1).max(40),
});

function readOidc(text: string, clientSecret: string): OidcSettings | null {
  if (text === "") return null;
  const parsed = oidcSettings.safeParse(parseJson(text));
  if (!parsed.success) throw new Error("OIDC is not valid (docs/portal.md)");
  if (clientSecret === "") throw new Error("OIDC_CLIENT_SECRET is missing");
  const { protocol, hostname } = new URL(parsed.data.issuer);
  if (protocol !== "https:" && hostname !== "127.0.0.1") throw new Error("OIDC has an issuer that is not https");
  return { ...parsed.data, clientSecret };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Origin of a host of the platform as browsers see it. */
export function publicOrigin(settings: PortalSettings, host: string): string {
  return `${settings.publicScheme}://${host}${settings.publicPort === "" ? "" : `:${settings.publicPort}`}`;
}
/** Where a tenant is; null where that is not known. Of one that the console does not show, its name tells. */
export function tenantUrl(
  settings: PortalSettings,
  {
    name,
    status,
  }: { readonly name: string; readonly status: { readonly host: string | null; readonly startPath: string } | null },
): string | null {
  const host = status === null ? (name.includes("@") ? null : `${name}.${settings.baseDomains[0]}`) : status.host;
  return host === null ? null : publicOrigin(settings, host) + (status?.startPath ?? "/");
}
export const portalOrigin = (settings: PortalSettings): string => publicOrigin(settings, settings.baseDomains[0]);
