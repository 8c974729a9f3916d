import { z } from "zod";

const port = z.number().int().min(1).max(65535);

/** A certificate from an ACME server (RFC 8555), by default Let's Encrypt. */
export const acmeConfig = z
  .strictObject({
    names: z
      .array(z.string().regex(/^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$/, "is not a host name"))
      .min(1)
      .max(100),
    /** Where the server writes to when something is wrong with the account. */
    email: z.email().nullable().default(null),
    /** Whoever orders has agreed to the server's terms. */
    termsOfServiceAgreed: z.literal(true),
    directoryUrl: z.url({ protocol: /^https$/ }).default("https://acme-v02.api.letsencrypt.org/directory"),
    /** CA (PEM) of a private server's own certificate; null: the public ones. */
    caFile: z.string().min(1).nullable().default(null),
    challenge: z.discriminatedUnion("type", [
      z.strictObject({
        type: z.literal("http-01"),
        address: z.string().min(1).default("0.0.0.0"),
        port: port.default(80),
      }),
      /** A program and its first arguments: acme/dns-01.ts. */
      z.strictObject({ type: z.literal("dns-01"), hook: z.array(z.string().min(1)).min(1) }),
    ]),
  })
  .refine(
    ({ names, challenge }) => challenge.type === "dns-01" || !names.some((name) => name.startsWith("*.")),
    "a name with * needs the challenge dns-01",
  );
export type AcmeConfig = z.infer<typeof acmeConfig>;
