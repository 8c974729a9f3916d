import { newId } from "../shared/ids.ts";
import { problem, problemResponse } from "../shared/problem.ts";

/**
 * The answer, or 503 when there is none in time: a database that stands still never says no. What was begun may still be done; whoever
 * repeats a POST with its Idempotency-Key learns of it.
 */
export async function answerInTime(answer: Promise<Response>, withinMs: number): Promise<Response> {
  const { promise, resolve } = Promise.withResolvers<Response>();
  const timer = setTimeout(() => {
    const detail = "The database does not answer right now. Try again shortly; a change may have been made.";
    resolve(problemResponse(problem("not-available", detail, newId("req")), { "retry-after": "5" }));
  }, withinMs);
  try {
    return await Promise.race([answer, promise]);
  } finally {
    clearTimeout(timer);
  }
}
