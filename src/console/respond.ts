import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { HEADER } from "../protocol/headers.ts";
import { problem, problemResponse } from "../shared/problem.ts";
import type { Failure } from "./failure.ts";
import type { ConsolePorts } from "./ports.ts";

export interface ConsoleEnv {
  Bindings: ConsolePorts;
  Variables: { requestId: string };
}
export type ConsoleApp = OpenAPIHono<ConsoleEnv>;
export type ConsoleContext = Context<ConsoleEnv>;

export function answer(
  c: ConsoleContext,
  sent: { status: number; headers: Record<string, string>; body: unknown },
): Response {
  return new Response(JSON.stringify(sent.body), {
    status: sent.status,
    headers: {
      "content-type": "application/json",
      "cache-control": "no-store",
      [HEADER.requestId]: c.var.requestId,
      ...sent.headers,
    },
  });
}

/** `more`: headers to be added. */
export function refuse(c: ConsoleContext, failure: Failure, more: Record<string, string> = {}): Response {
  const headers: Record<string, string> = { ...more };
  if (failure.code === "unauthorized") headers["www-authenticate"] = 'Bearer realm="causeway"';
  if (failure.code === "not-available") headers["retry-after"] = "2";
  return problemResponse(problem(failure.code, failure.detail, c.var.requestId), headers);
}
