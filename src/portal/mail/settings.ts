import { z } from "zod";

/** A text, or objects and lists of such, where `{{to}}`, `{{from}}`, `{{subject}}` and `{{text}}` are filled in. */
export type MailTemplate =
  | string
  | number
  | boolean
  | null
  | readonly MailTemplate[]
  | { readonly [key: string]: MailTemplate };

const template: z.ZodType<MailTemplate> = z.lazy(() =>
  z.union([z.string(), z.number(), z.boolean(), z.null(), z.array(template), z.record(z.string(), template)]),
);

/** Variable MAIL: how mail leaves the portal, as JSON. The secret MAIL_KEY is the whole value of `keyHeader`, or the password. */
const mailSettings = z.discriminatedUnion("kind", [
  /** Into the log, links included: for a platform on this machine only. */
  z.strictObject({ kind: z.literal("log") }),
  z.strictObject({
    kind: z.literal("http"),
    url: z.url({ protocol: /^https?$/ }),
    from: z.string().min(3).max(320),
    keyHeader: z
      .string()
      .regex(/^[A-Za-z0-9-]{1,64}$/)
      .default("authorization"),
    body: template.default({ from: "{{from}}", to: "{{to}}", subject: "{{subject}}", text: "{{text}}" }),
  }),
  z.strictObject({
    kind: z.literal("smtp"),
    host: z.string().regex(/^[A-Za-z0-9.-]{1,253}$/),
    port: z.number().int().min(1).max(65_535).default(465),
    /** `on`: TLS from the first byte (port 465). `starttls`: asked for after the greeting (port 587). */
    tls: z.enum(["on", "starttls"]).default("on"),
    /** Absent: no login. MAIL_KEY is its password. */
    user: z.string().min(1).max(320).optional(),
    from: z.string().min(3).max(320),
  }),
  /** No mail: forgotten passwords, sign-up and invitations are refused with a word of explanation. */
  z.strictObject({ kind: z.literal("none") }),
]);
type Parsed = z.infer<typeof mailSettings>;
type Keyed<Kind extends Parsed["kind"]> = Extract<Parsed, { kind: Kind }> & { readonly key: string };
export type SmtpSettings = Keyed<"smtp">;
export type MailSettings = Exclude<Parsed, { kind: "http" | "smtp" }> | Keyed<"http"> | SmtpSettings;

/**
 * Reads MAIL and MAIL_KEY. Empty: `log` on a domain below `localhost`, else `none`. Throws, without quoting, when they are wrong, when the key
 * is missing, or when links would go into a real platform's log or over the network in clear.
 */
export function readMailSettings(mail: string, key: string, baseDomain: string): MailSettings {
  const isLocal = baseDomain === "localhost" || baseDomain.endsWith(".localhost");
  if (mail === "") return { kind: isLocal ? "log" : "none" };
  const parsed = mailSettings.safeParse(parseJson(mail));
  if (!parsed.success) throw new Error("MAIL is not valid (docs/portal.md)");
  const settings = parsed.data;
  if (settings.kind === "log" && !isLocal) throw new Error("MAIL is log, which is for domains below localhost only");
  if (settings.kind === "smtp") {
    if ((settings.user === undefined) !== (key === ""))
      throw new Error("MAIL has a user without MAIL_KEY, or none with it");
    return { ...settings, key };
  }
  if (settings.kind !== "http") return settings;
  if (key === "" || /[\r\n]/.test(key)) throw new Error("MAIL_KEY is missing or has line ends");
  const { protocol, hostname } = new URL(settings.url);
  if (protocol !== "https:" && hostname !== "127.0.0.1") throw new Error("MAIL has a url that is not https");
  return { ...settings, key };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
