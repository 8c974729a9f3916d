import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { LIMITS } from "../limits.ts";
import type { Challenges } from "./challenges.ts";

/**
 * TXT records by a program of the operator's: `<hook> present|remove _acme-challenge.<name> <value>`. It returns when the name's servers
 * answer with the record. Two values of one name may be there at once (a name and its wildcard). Nothing that it is given is secret.
 */
export function dns01(hook: readonly string[]): Challenges {
  const [file = "", ...args] = hook;
  let last: Promise<unknown> = Promise.resolve();
  /** One after another: such programs often read a zone and write it back. */
  const run = (what: "present" | "remove", name: string, value: string): Promise<void> => {
    const record = `_acme-challenge.${name.replace(/^\*\./, "")}`;
    const earlier = last;
    const mine = (async () => {
      await earlier;
      try {
        await promisify(execFile)(file, [...args, what, record, value], { timeout: LIMITS.acmeHookMs });
      } catch (error) {
        const why = error instanceof Error && "code" in error ? String(error.code) : "it failed";
        throw new Error(`the hook did not ${what} the record ${record}: ${why}`, { cause: error });
      }
    })();
    last = mine.catch(() => undefined);
    return mine;
  };
  return {
    type: "dns-01",
    show: (name, _token, value) => run("present", name, value),
    remove: (name, _token, value) => run("remove", name, value),
    close: () => Promise.resolve(),
  };
}
