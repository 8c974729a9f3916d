import { HEADER } from "../protocol/headers.ts";
import { PROBLEMS } from "../shared/problem.ts";
import type { Visit } from "./visit.ts";

/** Whether the request is gRPC's own form, whose status comes as trailers. gRPC-Web's comes in the body, and passes. */
export const isGrpc = ({ method, request }: Pick<Visit, "method" | "request">): boolean =>
  method === "POST" && /^application\/grpc(?:$|[+; ])/i.test(request.headers.get("content-type") ?? "");

/**
 * A Worker can't send trailers, so no call could be told how it ended: better none is made. As gRPC says it where there is nothing but a status
 * (Trailers-Only); 12 is UNIMPLEMENTED.
 */
export const refuseGrpc = ({ requestId }: Pick<Visit, "requestId">): Response =>
  new Response(null, {
    headers: {
      "content-type": "application/grpc",
      "grpc-status": "12",
      "grpc-message": `${PROBLEMS["no-grpc"].title}, only at a master and on open routes`,
      [HEADER.error]: "no-grpc",
      [HEADER.requestId]: requestId,
      "cache-control": "no-store",
    },
  });
