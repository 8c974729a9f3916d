import { expect, test, vi } from "vitest";
import { answerInTime } from "./deadline.ts";

test("an answer in time is passed on, one that does not come is a 503, a failure stays one", async () => {
  vi.useFakeTimers();
  try {
    const good = new Response("here");
    expect(await answerInTime(Promise.resolve(good), 1_000)).toBe(good);
    await expect(answerInTime(Promise.reject(new Error("no")), 1_000)).rejects.toThrow("no");
    const late = answerInTime(new Promise<Response>(() => undefined), 1_000);
    vi.advanceTimersByTime(1_000);
    const { status, headers } = await late;
    expect([status, headers.get("causeway-error"), headers.get("retry-after")]).toEqual([503, "not-available", "5"]);
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});
