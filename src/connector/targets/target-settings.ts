import { resolve } from "node:path";
import { z } from "zod";
import { err, ok, type Result } from "../../shared/result.ts";
import { inputWords } from "../../shared/input-words.ts";
import {
  FOLLOWED_REDIRECTS,
  FOLLOWED_REDIRECTS_MAX,
  HEALTH_INTERVAL_MS,
  HEALTH_TIMEOUT_MS,
  HEALTHY_AFTER,
  TARGET_ANSWER_TIMEOUT_MS,
  TARGET_CONNECT_TIMEOUT_MS,
  UNHEALTHY_AFTER,
} from "../limits.ts";

/**
 * What can be said of a web target: in the configuration file (YAML), behind `#` of `--target name=url#option=value&...` (a dot goes one
 * level down), and in what the console pushes (JSON). So numbers and switches may come as text. Times are in seconds.
 */

const number = z
  .union([z.number(), z.string().regex(/^[0-9]+(?:\.[0-9]+)?$/, "write a number")], "write a number")
  .transform(Number);
const seconds = (max: number) => {
  const words = `write seconds, more than 0 and up to ${max}`;
  const text = z.string().regex(/^[0-9]+(?:\.[0-9]+)?$/, words);
  return z
    .union([z.number(), text], words)
    .transform(Number)
    .pipe(z.number().positive(words).max(max, words))
    .transform((value) => Math.ceil(value * 1000));
};
const count = (max: number) => {
  const words = `write a whole number from 1 to ${max}`;
  return number.pipe(z.number().int(words).min(1, words).max(max, words));
};
const flag = z.union(
  [z.boolean(), z.enum(["true", "false"]).transform((text) => text === "true")],
  "write true or false",
);
const list = z.union([
  z.array(z.string()),
  z.string().transform((text) =>
    text
      .split(",")
      .map((item) => item.trim())
      .filter((item) => item !== ""),
  ),
]);
const DAY_S = 86_400;

/** Set by the hop itself: framing, connection, and what is ours. (Host has a setting of its own.) */
const OWNED =
  /^(?:connection|content-length|expect|host|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade|sec-websocket-.*|causeway-.*)$/i;
const fieldName = z
  .string()
  .max(128)
  .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, "is not the name of a header field")
  .refine((name) => !OWNED.test(name), "is set by the connection itself");
/** Visible characters, spaces between them, and bytes above ASCII: nothing that could end the line. */
const fieldValue = z
  .string()
  .max(8192)
  .regex(
    /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/,
    "write visible characters, blanks between them only",
  );

const headerRules = z.strictObject({
  /** Replaces every field of the name. */
  set: z.record(fieldName, fieldValue).default({}),
  /** Beside those that are there. */
  add: z.record(fieldName, z.union([fieldValue.transform((value) => [value]), z.array(fieldValue)])).default({}),
  remove: list.pipe(z.array(fieldName)).default([]),
});
export type HeaderRules = z.infer<typeof headerRules>;

const hostName = z
  .string()
  .regex(/^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$/, "write a host name");

const statusRanges = z
  .union([z.number().transform(String), z.string()])
  .pipe(
    z
      .string()
      .regex(
        /^ *[1-5][0-9]{2}(?:-[1-5][0-9]{2})?(?: *, *[1-5][0-9]{2}(?:-[1-5][0-9]{2})?)* *$/,
        "write statuses as 200-399 or 200,204",
      ),
  )
  .transform((text) =>
    text.split(",").map((range) => {
      const [from = "", to = from] = range.trim().split("-");
      return { from: Number(from), to: Number(to) };
    }),
  );

const health = z.strictObject({
  /** Path and query at the target, without the path of `url` in front; null: it is enough that it takes connections. */
  path: z
    .string()
    .regex(/^\/[\x21-\x7e]*$/, "write a path as /healthz")
    .nullable()
    .default(null),
  status: statusRanges.default([{ from: 200, to: 399 }]),
  interval: seconds(3600).default(HEALTH_INTERVAL_MS),
  timeout: seconds(300).default(HEALTH_TIMEOUT_MS),
  unhealthyAfter: count(100).default(UNHEALTHY_AFTER),
  healthyAfter: count(100).default(HEALTHY_AFTER),
});
export type HealthSettings = z.infer<typeof health>;

/** What of TLS may come from afar: files are the site's own, and whether a certificate is checked is the site's decision. */
const pushableTls = {
  serverName: hostName.optional(),
  minVersion: z.enum(["1.2", "1.3"]).default("1.2"),
};
const tls = z.strictObject({
  ...pushableTls,
  /** Files (PEM). */
  ca: z.string().optional(),
  certificate: z.string().optional(),
  key: z.string().optional(),
  insecure: flag.default(false),
});
export type TlsSettings = z.infer<typeof tls>;

const common = {
  url: z.string(),
  disabled: flag.default(false),
  timeout: seconds(DAY_S).default(TARGET_ANSWER_TIMEOUT_MS),
  connectTimeout: seconds(300).default(TARGET_CONNECT_TIMEOUT_MS),
  /** Without a byte of an answer that has begun; null: for ever. */
  idleTimeout: seconds(DAY_S).nullable().default(null),
  host: z.union([z.enum(["target", "preserve"]), hostName]).default("target"),
  origin: z.enum(["auto", "preserve", "target"]).default("auto"),
  stripPrefix: z
    .string()
    .regex(/^(?:\/[\x21\x24-\x2e\x30-\x3e\x40-\x7e]+)+$/, "write a path as /erp")
    .nullable()
    .default(null),
  maxConcurrent: count(4096).nullable().default(null),
  readOnly: flag.default(false),
  /** How many redirects; 0: they go to the visitor. */
  followRedirects: z
    .union(
      [
        flag.transform((on) => (on ? FOLLOWED_REDIRECTS : 0)),
        number.pipe(z.number().int().min(0).max(FOLLOWED_REDIRECTS_MAX)),
      ],
      `write true, false or a number up to ${FOLLOWED_REDIRECTS_MAX}`,
    )
    .default(0),
  rewriteLocations: z
    .union(
      [flag.transform((on) => (on ? "origin" : "off")), z.enum(["off", "origin", "all"])],
      "write origin, off or all",
    )
    .default("origin"),
  requestHeaders: headerRules.default({ set: {}, add: {}, remove: [] }),
  responseHeaders: headerRules.default({ set: {}, add: {}, remove: [] }),
  health: z
    .union([flag.transform((on) => (on ? health.parse({}) : null)), health])
    .nullable()
    .default(null),
};

const siteSettings = z.strictObject({
  ...common,
  tls: tls.default({ minVersion: "1.2", insecure: false }),
  /** File that holds `user:password`. */
  basicAuth: z.string().nullable().default(null),
});
export type WebSettings = z.infer<typeof siteSettings>;

const pushedSettings = z.strictObject({
  ...common,
  tls: z.strictObject(pushableTls).default({ minVersion: "1.2" }),
});

/** Settings of a site's own file or flag. Paths in them are made absolute. */
export function parseSiteSettings(input: unknown, folder: string): SettingsResult {
  const checked = siteSettings.safeParse(input, { error: inputWords });
  if (!checked.success) return err(checked.error.issues);
  const { tls, basicAuth } = checked.data;
  const path = (file: string | undefined) => (file === undefined ? undefined : resolve(folder, file));
  const files = { ca: path(tls.ca), certificate: path(tls.certificate), key: path(tls.key) };
  const password = basicAuth === null ? null : resolve(folder, basicAuth);
  return ok({ ...checked.data, tls: { ...tls, ...files }, basicAuth: password });
}

/** Settings that came from the console. */
export function parsePushedSettings(input: unknown): SettingsResult {
  const checked = pushedSettings.safeParse(input, { error: inputWords });
  if (!checked.success) return err(checked.error.issues);
  return ok({ ...checked.data, tls: { ...checked.data.tls, insecure: false }, basicAuth: null });
}

type SettingsResult = Result<WebSettings, readonly z.core.$ZodIssue[]>;
