import type { Context } from "hono";
import { z } from "zod";
import { negotiatedProblem } from "../policy/problem-response.ts";
import type { ErrorCode } from "../shared/problem.ts";
import { LIMITS } from "./limits.ts";
import { LINK_TOKEN } from "./links.ts";

export type App = { Variables: { requestId: string } };

export function problem(
  c: Context<App>,
  code: ErrorCode,
  detail: string,
  headers: Record<string, string> = {},
): Response {
  return negotiatedProblem(c.req.raw, code, detail, c.get("requestId"), headers);
}

/** Where to go on to: one of a few paths of this portal and nothing else, so that a form can't send anybody elsewhere. */
export const nextPath = z
  .string()
  .max(2_000)
  .regex(
    /^\/(?:account|tenants\/(?:new|ten_[0-9a-z]{20})(?:\/members)?|authorize\?[^\\\s]*|invitation\?token=[A-Za-z0-9_-]{43})?$/,
  );

export const emailField = z.email().max(254);
export const passwordField = z.string().max(LIMITS.passwordMaxLength);
export const tokenField = z.string().regex(LINK_TOKEN);

/** Fields of a form of this very portal, or the answer that refuses it. `origin`: the portal's. */
export async function readForm<T>(c: Context<App>, origin: string, schema: z.ZodType<T>): Promise<T | Response> {
  if (!isOwnForm(c.req.raw, origin)) {
    return problem(c, "forbidden", "This form works from the portal's own page only.");
  }
  const length = Number(c.req.header("content-length") ?? "NaN");
  if (!(length <= LIMITS.formBytes)) return problem(c, "body-too-large", "A form of the portal is small.");
  const form = schema.safeParse(await c.req.parseBody());
  return form.success ? form.data : problem(c, "bad-request", "The form is not complete.");
}

/** A form of this very host. Browsers say where a form comes from in at least one of two headers; who sends neither is refused. */
function isOwnForm(request: Request, origin: string): boolean {
  const site = request.headers.get("sec-fetch-site");
  if (site !== null && site !== "same-origin") return false;
  const sentOrigin = request.headers.get("origin");
  return sentOrigin === null ? site === "same-origin" : sentOrigin === origin;
}

/** A time to wait, for people. */
export function minutes(seconds: number): string {
  const count = Math.ceil(seconds / 60);
  return count <= 1 ? "a minute" : `${count} minutes`;
}
