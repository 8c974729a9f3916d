import { err, ok, type Result } from "../../shared/result.ts";
import { LIMITS } from "../limits.ts";
import { mimeMessage } from "./mime.ts";
import type { Mail } from "./mail.ts";

/**
 * As much of SMTP (RFC 5321, with AUTH of RFC 4954 and STARTTLS of RFC 3207) as handing one mail to one's own mail server needs. The session is
 * a function over a conversation, so that Workers' sockets and Node's do. Never sends a password without TLS.
 */
export interface SmtpConversation {
  /** The next line without its end; null when the server has closed. */
  readLine(): Promise<string | null>;
  write(text: string): Promise<void>;
  /** Goes on over TLS; what was read ahead in clear is thrown away (CVE-2011-0411). */
  startTls(): void;
}

export interface SmtpLogin {
  readonly user: string;
  readonly password: string;
}

/** `isSecure`: TLS from the first byte. `mayBeClear`: to this very machine. `from`: an address, with or without a name before it. */
export interface SmtpSession {
  readonly isSecure: boolean;
  readonly mayBeClear: boolean;
  readonly login: SmtpLogin | null;
  readonly from: string;
  /** Of this side. */
  readonly hostname: string;
  readonly messageId: string;
  readonly nowMs: number;
}

/** Error: at which command it failed, with the reply's code; nothing of the mail, the password or the server's words. */
export async function sendBySmtp(
  talk: SmtpConversation,
  session: SmtpSession,
  mail: Mail,
): Promise<Result<null, string>> {
  const sender = bareAddress(session.from);
  // Commands end with a line: no address may have one, or anything that ends the path.
  if (!isPlainAddress(sender) || !isPlainAddress(mail.to)) return err("an address can't be said in SMTP");
  let isSecure = session.isSecure;

  /** Null: another reply than `wanted`, or none. */
  async function command(text: string | null, wanted: number): Promise<Reply | number | null> {
    if (text !== null) await talk.write(`${text}\r\n`);
    const reply = await readReply(talk);
    if (reply === null) return null;
    return Math.floor(reply.code / 100) === wanted ? reply : reply.code;
  }
  const failed = (at: string, reply: number | null) => err(`${at}: ${reply ?? "closed"}`);
  const isReply = (reply: Reply | number | null): reply is Reply => reply !== null && typeof reply !== "number";

  const greeting = await command(null, 2);
  if (!isReply(greeting)) return failed("greeting", greeting);
  let hello = await command(`EHLO ${session.hostname}`, 2);
  if (!isReply(hello)) return failed("EHLO", hello);
  if (!isSecure && offers(hello, "STARTTLS")) {
    const started = await command("STARTTLS", 2);
    if (!isReply(started)) return failed("STARTTLS", started);
    talk.startTls();
    isSecure = true;
    hello = await command(`EHLO ${session.hostname}`, 2);
    if (!isReply(hello)) return failed("EHLO", hello);
  }
  if (!isSecure && !session.mayBeClear) return err("the server offers no TLS");
  if (session.login !== null) {
    const { user, password } = session.login;
    const secret = base64(`\0${user}\0${password}`);
    const entered = await command(`AUTH PLAIN ${secret}`, 2);
    if (!isReply(entered)) return failed("AUTH", entered);
  }
  for (const line of [`MAIL FROM:<${sender}>`, `RCPT TO:<${mail.to}>`]) {
    const taken = await command(line, 2);
    if (!isReply(taken)) return failed(line.slice(0, 4), taken);
  }
  const ready = await command("DATA", 3);
  if (!isReply(ready)) return failed("DATA", ready);
  const { from, messageId, nowMs } = session;
  const message = mimeMessage(mail, { from, messageId, nowMs });
  const taken = await command(`${dotStuffed(message)}.`, 2);
  if (!isReply(taken)) return failed("message", taken);
  // Taken is taken, whatever comes of the farewell.
  await talk.write("QUIT\r\n").catch(() => undefined);
  return ok(null);
}

interface Reply {
  readonly code: number;
  readonly lines: readonly string[];
}

async function readReply(talk: SmtpConversation): Promise<Reply | null> {
  const lines: string[] = [];
  for (;;) {
    const line = await talk.readLine();
    if (line === null || lines.length >= LIMITS.smtpReplyLines) return null;
    const [, code = "", more = "", text = ""] = /^([0-9]{3})([ -]?)(.*)$/.exec(line) ?? [];
    if (code === "") return null;
    lines.push(text);
    if (more !== "-") return { code: Number(code), lines };
  }
}

const offers = ({ lines }: Reply, keyword: string): boolean =>
  lines.slice(1).some((line) => line.toUpperCase().split(" ")[0] === keyword);

/** `Name <address>` or just the address. */
const bareAddress = (from: string): string => /<([^<>]*)>\s*$/.exec(from)?.[1] ?? from;

const isPlainAddress = (text: string): boolean => /^[\x21-\x7e]+@[\x21-\x7e]+$/.test(text) && !/[<>\\"]/.test(text);

/** RFC 5321, section 4.5.2. Ends with a line end. */
const dotStuffed = (message: string): string => message.replace(/^\./gm, "..");

export function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
