import type { Logger } from "../../shared/log.ts";
import { LIMITS } from "../limits.ts";
import type { Mail, SendMail } from "./mail.ts";
import type { MailSettings, MailTemplate } from "./settings.ts";

/** The way out of `settings`; null when the platform sends no mail. `fetcher`: global fetch. */
export function createSendMail(settings: MailSettings, log: Logger, fetcher: typeof fetch): SendMail | null {
  if (settings.kind === "none") return null;
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
