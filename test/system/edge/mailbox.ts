import { fork } from "node:child_process";
import { once } from "node:events";
import { z } from "zod";
import { until } from "../../support/until.ts";

const mail = z.object({ from: z.string(), to: z.string(), subject: z.string(), text: z.string() });
export type ReceivedMail = z.infer<typeof mail> & { readonly authorization: string };

/** A mail service's HTTP API on loopback that keeps what it gets. */
export interface Mailbox {
  readonly url: string;
  readonly mails: readonly ReceivedMail[];
  /** Waits for the newest mail to `to` that is not among the first `after` of all mails. */
  next(to: string, after?: number): Promise<ReceivedMail>;
  /** Path and query of the only link in a mail. */
  linkIn(text: string): string;
  /** Answers this from now on. */
  setStatus(status: number): Promise<void>;
  stop(): Promise<void>;
}

const message = z.union([
  z.object({ body: mail, authorization: z.string() }),
  z.object({ status: z.number() }),
  z.object({ port: z.number() }),
]);

export async function startMailbox(): Promise<Mailbox> {
  const mails: ReceivedMail[] = [];
  let port = 0;
  let status = 202;
  const child = fork(new URL("mailbox-child.ts", import.meta.url));
  child.on("message", (data: unknown) => {
    const said = message.parse(data);
    if ("body" in said) mails.push({ ...said.body, authorization: said.authorization });
    else if ("status" in said) status = said.status;
    else port = said.port;
  });
  await until("a mail service", () => port > 0);
  const newest = (to: string, after: number) => mails.slice(after).findLast((each) => each.to === to);
  return {
    url: `http://127.0.0.1:${port}/send`,
    mails,
    async next(to, after = 0) {
      const others = (): string => mails.map((each) => each.to).join(", ");
      await until(`a mail to ${to}`, () => newest(to, after) !== undefined).catch((error: unknown) => {
        throw new Error(`no mail to ${to}, but to ${others()}`, { cause: error });
      });
      const found = newest(to, after);
      if (found === undefined) throw new Error("no mail");
      return found;
    },
    linkIn(text) {
      const { pathname, search } = new URL(/https?:\/\/\S+/.exec(text)?.[0] ?? "");
      return pathname + search;
    },
    async setStatus(next) {
      child.send(next);
      await until("another answer", () => status === next);
    },
    async stop() {
      const ended = once(child, "exit");
      child.kill();
      await ended;
    },
  };
}
