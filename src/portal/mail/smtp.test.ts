import { expect, test } from "vitest";
import type { Mail } from "./mail.ts";
import { mimeMessage } from "./mime.ts";
import { sendBySmtp, type SmtpConversation, type SmtpSession } from "./smtp.ts";

const mail: Mail = {
  to: "ann@acme.example",
  subject: "Grüße: Set a new password",
  text: "One\n.two\nhttps://x.example/?t=1",
};
const session = (over: Partial<SmtpSession> = {}): SmtpSession => ({
  isSecure: true,
  mayBeClear: false,
  login: { user: "mailer", password: "hunter2" },
  from: "Causeway <no-reply@causeway.example>",
  hostname: "causeway.example",
  messageId: "m1@causeway.example",
  nowMs: Date.UTC(2026, 10, 21),
  ...over,
});

/** A server by its replies: the first greets, each next one answers a command. */
function server(replies: readonly string[]): SmtpConversation & { said: string[] } {
  const lines = replies.flatMap((reply) => reply.split("\n"));
  const said: string[] = [];
  return {
    said,
    readLine: async () => lines.shift() ?? null,
    write: async (text) => void said.push(text),
    startTls: () => void said.push("(TLS)"),
  };
}
const HELLO = "250-mail.example\n250-STARTTLS\n250 AUTH PLAIN";
const TAKEN = ["235 in", "250 ok", "250 ok", "354 go", "250 queued"];

test("hands a mail over, with a login and a message whose lines are short ASCII", async () => {
  const talk = server(["220-hi\n220 there", "250 mail.example", ...TAKEN]);
  expect(await sendBySmtp(talk, session(), mail)).toEqual({ ok: true, value: null });
  const [hello, auth, from, to, data, message = "", quit] = talk.said;
  expect([hello, from, to, data, quit]).toEqual([
    "EHLO causeway.example\r\n",
    "MAIL FROM:<no-reply@causeway.example>\r\n",
    "RCPT TO:<ann@acme.example>\r\n",
    "DATA\r\n",
    "QUIT\r\n",
  ]);
  expect(atob(auth?.split(" ")[2] ?? "")).toBe("\0mailer\0hunter2");
  expect(message).toMatch(/\r\n\.\r\n$/);
  for (const line of message.split("\r\n")) expect(line).toMatch(/^[\x20-\x7e]{0,76}$/);
});

test("goes on over TLS before it says who it is, and refuses a server without it", async () => {
  const talk = server(["220 hi", HELLO, "220 go", "250 mail.example", ...TAKEN]);
  expect((await sendBySmtp(talk, session({ isSecure: false }), mail)).ok).toBe(true);
  expect(talk.said.slice(0, 4).map((each) => each.split(" ")[0]?.trim())).toEqual([
    "EHLO",
    "STARTTLS",
    "(TLS)",
    "EHLO",
  ]);

  const clear = server(["220 hi", "250 mail.example"]);
  const refused = await sendBySmtp(clear, session({ isSecure: false }), mail);
  expect(refused).toEqual({ ok: false, error: "the server offers no TLS" });
  expect(clear.said.join("")).not.toContain("AUTH");
  const stripped = server(["220 hi", HELLO, "454 not now"]);
  expect(await sendBySmtp(stripped, session({ isSecure: false }), mail)).toEqual({ ok: false, error: "STARTTLS: 454" });
});

test.each([
  [["554 go away"], "greeting: 554"],
  [["220 hi", "250 x", "535 wrong hunter2"], "AUTH: 535"],
  [["220 hi", "250 x", "235 in", "250 ok", "550 nobody ann@acme.example"], "RCPT: 550"],
  [["220 hi", "250 x", "235 in", "250 ok", "250 ok", "354 go", "552 too big"], "message: 552"],
  [["220 hi"], "EHLO: closed"],
  [["what is this"], "greeting: closed"],
])("a refusal tells where and which code, nothing else (%#)", async (replies, error) => {
  expect(await sendBySmtp(server(replies), session(), mail)).toEqual({ ok: false, error });
});

test.each(["a@b.example>\r\nRCPT TO:<c@d.example", "a b@c.example", "<a@b.example>", "none", 'a"@b.example'])(
  "an address that could be another command is not said: %j",
  async (to) => {
    const talk = server(["220 hi", "250 x", ...TAKEN]);
    expect((await sendBySmtp(talk, session(), { ...mail, to })).ok).toBe(false);
    expect(talk.said).toEqual([]);
  },
);

test("no value begins another header, and a subject in any script is told in words of ASCII", () => {
  const evil = { ...mail, subject: `a\r\nBcc: x@y.example ${"ü".repeat(60)}` };
  const message = mimeMessage(evil, { from: "a@b.example\r\nX: y", messageId: "1@b", nowMs: 0 });
  const [head = "", body = ""] = message.split("\r\n\r\n");
  expect(head).not.toMatch(/^(?:Bcc|X):/m);
  const words = [...head.matchAll(/=\?utf-8\?B\?([^?]*)\?=/g)].map(([, word = ""]) =>
    Buffer.from(word, "base64").toString(),
  );
  expect(words.join("")).toBe(evil.subject.replaceAll(/[\r\n]/g, " "));
  expect(Buffer.from(body, "base64").toString()).toBe(mail.text.replaceAll("\n", "\r\n"));
  expect(head).toContain("Date: Thu, 01 Jan 1970 00:00:00 +0000");
});
