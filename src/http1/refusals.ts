import type { ParseFault } from "./parser.ts";
import type { RefusalCause } from "./request-checks.ts";

const UNCLEAR: RefusalCause = {
  status: 400,
  reason: "ambiguous-length",
  detail: "The length of the body is not clear.",
};
export const MALFORMED: RefusalCause = {
  status: 400,
  reason: "malformed",
  detail: "The request is not valid HTTP/1.1.",
};

/** What clients are told: for each fault of the parser, and for the connection's own reasons. */
export const REFUSALS: Readonly<Record<ParseFault | "timeout" | "overloaded" | "connect", RefusalCause>> = {
  "target-too-long": { status: 414, reason: "target-too-long", detail: "The request's target is too long." },
  "head-too-large": {
    status: 431,
    reason: "head-too-large",
    detail: "The request's fields are too large or too many.",
  },
  "trailers-too-large": { status: 431, reason: "head-too-large", detail: "The trailers are too large or too many." },
  "content-length": UNCLEAR,
  "transfer-encoding": UNCLEAR,
  version: { status: 505, reason: "version", detail: "Only HTTP/1.1 and HTTP/1.0 are spoken here." },
  "chunk-overhead": MALFORMED,
  malformed: MALFORMED,
  timeout: { status: 408, reason: "timeout", detail: "The request did not come in time." },
  overloaded: { status: 503, reason: "overloaded", detail: "There are too many connections." },
  connect: { status: 405, reason: "target-form", detail: "This is no tunnel for CONNECT." },
};
