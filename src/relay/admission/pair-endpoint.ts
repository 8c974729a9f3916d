import { z } from "zod";
import { publicJwk } from "../../protocol/jwk.ts";
import { PAIR_BODY_BYTES, RETRY_AFTER_SECONDS } from "../limits.ts";
import { boundedText, json, refusal, tooMany, type EndpointPorts } from "./http.ts";
import { parseClientId } from "./identity.ts";

const pairBody = z.strictObject({
  tenant: z.string().max(128),
  connector: z
    .string()
    .max(64)
    .regex(/^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/),
  /** Its `kid` is its thumbprint (RFC 7638). */
  key: publicJwk,
  /** Printable, as it is shown to whoever decides. */
  software: z
    .string()
    .max(120)
    .regex(/^[\x20-\x7e]*$/)
    .default(""),
});

/**
 * `POST /pair`: a connector that nobody knows asks to be let in while the tenant's window is open (H85). 202 says only that somebody may look at
 * it. A closed window, a full one and a tenant that does not exist look the same.
 */
export async function answerPair(request: Request, ports: EndpointPorts): Promise<Response> {
  const text = await boundedText(request, PAIR_BODY_BYTES);
  if (text === null) return refusal("body-too-large", "This is too long for a request to be let in.");
  const parsed = pairBody.safeParse(parseJson(text));
  const identity = parsed.success ? parseClientId(parsed.data.tenant) : null;
  if (!parsed.success || identity === null || identity.connector !== null)
    return refusal("bad-request", "The body is JSON with tenant, connector, key (a public JWK) and software.");
  const { tenant, connector, key, software } = parsed.data;
  const attempt = `${tenant} ${ports.clientAddress ?? ""}`;
  const waitMs = ports.pairAttempts.blockedForMs(attempt, ports.now());
  if (waitMs > 0) return tooMany(waitMs);
  ports.pairAttempts.count(attempt, ports.now());
  const lane = await ports.laneOf(identity);
  if (lane === "unreachable") return away();
  const asked =
    lane === null ? "closed" : await lane.pair({ connector, key, software, clientAddress: ports.clientAddress });
  if (asked === "closed") return closed();
  const poll = `/pair/${asked.id}?tenant=${encodeURIComponent(tenant)}`;
  return json(
    202,
    { id: asked.id, status: "pending", poll: `${new URL(request.url).origin}${poll}` },
    { location: poll },
  );
}

/** `GET /pair/{id}?tenant=`: what became of it. */
export async function answerPairStatus(id: string, tenant: string, ports: EndpointPorts): Promise<Response> {
  const identity = parseClientId(tenant);
  if (identity === null) return closed();
  const lane = await ports.laneOf(identity);
  if (lane === "unreachable") return away();
  const status = lane === null ? "unknown" : await lane.pairStatus(id);
  return status === "unknown" ? closed() : json(200, { id, status });
}

const closed = (): Response =>
  refusal("not-found", "Nobody is let in here just now. Ask whoever runs the tenant to open pairing, then ask again.");

const away = (): Response =>
  refusal("not-available", "The directory does not answer. Try again in a moment.", {
    "retry-after": String(RETRY_AFTER_SECONDS),
  });

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
