import { enrolRequest } from "../protocol/node-channel.ts";
import { isId, newId } from "../shared/ids.ts";
import { problem, problemResponse, type ErrorCode } from "../shared/problem.ts";
import { AUDIENCE_HEADER, type NodeChannelEnv } from "./node-channel.ts";
import { claimedNode } from "./node-channel-admission.ts";
import { ENROL_BODY_BYTES } from "./limits.ts";

export { Directory } from "./directory.ts";
export { NodeChannel } from "./node-channel.ts";

export interface ControlWorkerEnv extends NodeChannelEnv {
  readonly NODE_CHANNEL: { getByName(name: string): { fetch(request: Request): Promise<Response> } };
}

/**
 * `/node` (WebSocket upgrade of a node agent) and `POST /node/enroll`. Finds the channel of the node that the caller claims to be; the
 * channel checks. No object is touched for anything that can't be a node's.
 */
export default {
  async fetch(request: Request, env: ControlWorkerEnv): Promise<Response> {
    const { pathname, origin } = new URL(request.url);
    if (pathname === "/node") return await dial(request, origin, env);
    if (pathname === "/node/enroll") return await enrol(request, env);
    return refusal("not-found", "Node agents use /node and /node/enroll.");
  },
};

async function dial(request: Request, origin: string, env: ControlWorkerEnv): Promise<Response> {
  if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
    return refusal("bad-request", "This address takes WebSocket upgrades only.");
  }
  const authorization = request.headers.get("authorization") ?? "";
  const nodeId = claimedNode(/^bearer ([A-Za-z0-9._-]{1,8192})$/i.exec(authorization)?.[1] ?? "");
  if (nodeId === null) return refusal("unauthorized", "A node agent shows a signed assertion.");
  const headers = { upgrade: "websocket", authorization, [AUDIENCE_HEADER]: origin };
  return await env.NODE_CHANNEL.getByName(nodeId).fetch(new Request("http://channel/node", { headers }));
}

async function enrol(request: Request, env: ControlWorkerEnv): Promise<Response> {
  if (request.method !== "POST") return refusal("bad-request", "Enrolment is a POST.");
  const sent = await boundedText(request, ENROL_BODY_BYTES);
  if (sent === null) return refusal("body-too-large", "An enrolment is a token and a public key.");
  const body = enrolRequest.safeParse(parseJson(sent));
  if (!body.success) return refusal("bad-request", "An enrolment is { token, key }, the key a public JWK.");
  const nodeId = body.data.token.slice(0, body.data.token.indexOf("."));
  if (!isId("nod", nodeId)) return refusal("unauthorized", "The enrolment token is not valid.");
  const checked = new Request("http://channel/node/enroll", { method: "POST", body: JSON.stringify(body.data) });
  return await env.NODE_CHANNEL.getByName(nodeId).fetch(checked);
}

/** The body as text, or null when it is longer than `maxBytes`. Reads no more than that. */
async function boundedText(request: Request, maxBytes: number): Promise<string | null> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of request.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) return null;
    text += decoder.decode(chunk, { stream: true });
  }
  return text;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const refusal = (code: ErrorCode, detail: string): Response => problemResponse(problem(code, detail, newId("req")));
