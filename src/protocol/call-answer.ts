import type { CallAnswer } from "./jobs.ts";

/** Enough for a token, a problem's details, and a description of what was done; data itself goes elsewhere. */
const CALL_ANSWER_BYTES = 64 * 1024;

/** Status, headers, and the beginning of the body as text. What is left of it is not fetched: leaving the loop cancels it. */
export async function readCallAnswer(response: Response): Promise<CallAnswer> {
  const decoder = new TextDecoder();
  let body = "";
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    body += decoder.decode(chunk.subarray(0, CALL_ANSWER_BYTES - bytes), { stream: true });
    bytes += chunk.byteLength;
    if (bytes >= CALL_ANSWER_BYTES) break;
  }
  return { status: response.status, headers: [...response.headers], body };
}
