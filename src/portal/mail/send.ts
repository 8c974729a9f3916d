import { isLoopbackHost } from "../../policy/host.ts";
import type { Clock } from "../../shared/clock.ts";
import { newId } from "../../shared/ids.ts";
import type { Logger } from "../../shared/log.ts";
import { LIMITS } from "../limits.ts";
import type { Mail, SendMail } from "./mail.ts";
import type { MailSettings, MailTemplate, SmtpSettings } from "./settings.ts";
import { sendBySmtp } from "./smtp.ts";
import { conversationOver, type Connect } from "./smtp-socket.ts";

export interface SendMailPorts {
  readonly log: Logger;
  /** Global fetch. */
  readonly fetcher: typeof fetch;
  readonly connect: Connect;
  readonly now: Clock;
}

/** The way out of `settings`; null when the platform sends no mail. */
export function createSendMail(settings: MailSettings, ports: SendMailPorts): SendMail | null {
  const { log, fetcher } = ports;
  if (settings.kind === "none") return null;
  if (settings.kind === "smtp") return (mail) => sendOverSocket(settings, ports, mail);
  if (settings.kind === "log") {
    return async ({ to, subject, text }) => log.info("mail", { to, subject, text });
  }
  return async (mail) => {
    const answer = await fetcher(settings.url, {
      method: "POST",
      headers: { "content-type": "application/json", [settings.keyHeader]: settings.key },
      body: JSON.stringify(fillIn(settings.body, { ...mail, from: settings.from })),
      // A redirect would carry the key to somewhere else.
      redirect: "manual",
      signal: AbortSignal.timeout(LIMITS.mailTimeoutMs),
    });
    await answer.body?.cancel();
    if (!answer.ok) throw new Error(`the mail service answered ${answer.status}`);
  };
}

async function sendOverSocket(
  { host, port, tls, user, from, key }: SmtpSettings,
  { connect, now }: SendMailPorts,
  mail: Mail,
): Promise<void> {
  const talk = conversationOver(connect({ hostname: host, port }, tls));
  const domain = /@([A-Za-z0-9.-]+)>?\s*$/.exec(from)?.[1] ?? "localhost";
  const session = {
    isSecure: tls === "on",
    mayBeClear: isLoopbackHost(host),
    login: user === undefined ? null : { user, password: key },
    from,
    hostname: domain,
    messageId: `${newId("req")}@${domain}`,
    nowMs: now(),
  };
  try {
    const sent = await within(LIMITS.mailTimeoutMs, sendBySmtp(talk, session, mail));
    if (!sent.ok) throw new Error(`the mail server refused (${sent.error})`);
  } finally {
    talk.close();
  }
}

function within<T>(ms: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("the mail server did not answer in time")), ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Values go in after the template was parsed, so that no address or name can change its structure. */
export function fillIn(template: MailTemplate, values: Mail & { readonly from: string }): unknown {
  if (typeof template === "string") {
    return template.replaceAll(/\{\{(to|from|subject|text)\}\}/g, (_, name: "to" | "from" | "subject" | "text") => {
      return values[name];
    });
  }
  if (template === null || typeof template !== "object") return template;
  if (isList(template)) return template.map((each) => fillIn(each, values));
  return Object.fromEntries(Object.entries(template).map(([key, value]) => [key, fillIn(value, values)]));
}

const isList = (template: MailTemplate): template is readonly MailTemplate[] => Array.isArray(template);
