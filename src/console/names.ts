import { z } from "@hono/zod-openapi";
import { isUnderPrefix, PLATFORM_PREFIX } from "../policy/route.ts";
import { NAME_PROBLEM_TEXT, parseSlug, parseTarget } from "../policy/names.ts";

/** Names as they come in; the rules are policy's (src/policy/names.ts). */

/** Of nodes, clusters and workspaces: a DNS label. */
export const label = z
  .string()
  .min(1)
  .max(40)
  .regex(
    /^[a-z]([a-z0-9-]*[a-z0-9])?$/,
    "lower-case letters, digits and hyphens; starts with a letter, ends with no hyphen",
  );

/** A tenant's slug; names of nodes and clusters are looked at later, they are in the database. */
export const slug = z.string().superRefine((text, context) => {
  const parsed = parseSlug(text);
  if (!parsed.ok) context.addIssue({ code: "custom", message: NAME_PROBLEM_TEXT[parsed.error] });
});

export const target = z.string().superRefine((text, context) => {
  const parsed = parseTarget(text);
  if (!parsed.ok) context.addIssue({ code: "custom", message: NAME_PROBLEM_TEXT[parsed.error] });
});

/** A connector's name: part of client ids and log lines, so no separators and no wildcards (H80). */
export const connectorName = z
  .string()
  .min(1)
  .max(64)
  .regex(
    /^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/,
    "lower-case letters, digits, dot, underscore, hyphen; none of these at an end",
  );

/** "/" or segments without a trailing slash; no encoding, no dot segments. */
export const plainPath = z
  .string()
  .max(255)
  .regex(/^\/$|^(\/[A-Za-z0-9._~-]+)+$/, "a path of plain segments without a trailing slash")
  .refine((text) => !/(^|\/)\.\.?(\/|$)/.test(text), "no dot segments");

/** Of a route. */
export const prefix = plainPath.refine(
  (text) => !isUnderPrefix(text, PLATFORM_PREFIX),
  `${PLATFORM_PREFIX} belongs to the platform`,
);
