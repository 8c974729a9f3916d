import type { Answer } from "./node.ts";

/** Requests one after another on a few lanes until stopped; what went wrong, and how many there were. */
export interface Load {
  stop(): Promise<{ readonly requests: number; readonly failures: readonly string[] }>;
  requests(): number;
}

/** `ask` makes one request; anything but a 200 whose body `isGood` accepts is a failure. */
export function startLoad(ask: () => Promise<Answer>, isGood: (body: string) => boolean, lanes = 4): Load {
  const failures: string[] = [];
  let requests = 0;
  let over = false;
  const lane = async (): Promise<void> => {
    for (;;) {
      if (over) return;
      try {
        const { status, body } = await ask();
        if (status !== 200 || !isGood(body)) failures.push(`${status} ${body.slice(0, 200)}`);
      } catch (error) {
        failures.push(String(error));
      }
      requests++;
      // The machine's few cores also run what is under test.
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  };
  const running = Promise.all(Array.from({ length: lanes }, lane));
  return {
    requests: () => requests,
    async stop() {
      over = true;
      await running;
      return { requests, failures };
    },
  };
}
