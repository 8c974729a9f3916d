import { expect, test } from "vitest";
import { createLogger } from "../../shared/log.ts";
import { createSendMail, fillIn, type SendMailPorts } from "./send.ts";
import { readMailSettings, type MailSettings } from "./settings.ts";

const log = (lines: string[] = []) => createLogger("portal", (line) => lines.push(line));
const ports = (lines: string[] = []): SendMailPorts => ({
  log: log(lines),
  fetcher: fetch,
  connect: () => expect.unreachable("no socket"),
  now: () => 0,
});
const mail = { to: "ann@acme.example", subject: 'Say "hello"', text: "Line one\nhttps://x.example/?token=t" };
const http = (over: object = {}) =>
  JSON.stringify({ kind: "http", url: "https://mail.example/send", from: "a@b.example", ...over });

test("without a word about mail it goes to the log on this machine, and nowhere elsewhere", () => {
  expect(readMailSettings("", "", "causeway.localhost")).toEqual({ kind: "log" });
  expect(readMailSettings("", "", "causeway.example")).toEqual({ kind: "none" });
  expect(createSendMail({ kind: "none" }, ports())).toBeNull();
});

test.each([
  ["the log of a real platform", '{"kind":"log"}', "key", "causeway.example"],
  ["no JSON", "http", "key", "causeway.localhost"],
  ["an unknown way", '{"kind":"pigeon"}', "key", "causeway.localhost"],
  ["a field that nobody knows", http({ password: "hunter2" }), "key", "causeway.example"],
  ["no key", http(), "", "causeway.example"],
  ["a key with a line end", http(), "hunter2\r\nx: y", "causeway.example"],
  ["a way in clear", http({ url: "http://mail.example/send" }), "key", "causeway.example"],
  [
    "a user without a password",
    '{"kind":"smtp","host":"m.example","from":"a@b.example","user":"u"}',
    "",
    "causeway.example",
  ],
  ["another protocol", http({ url: "ftp://mail.example/send" }), "key", "causeway.example"],
])("settings with %s are refused without quoting them", (_, text, key, domain) => {
  const read = () => readMailSettings(text, key, domain);
  expect(read).toThrow(/^MAIL/);
  expect(read).not.toThrow(/hunter2/);
});

test("the log's way tells all of a mail", async () => {
  const lines: string[] = [];
  await createSendMail({ kind: "log" }, ports(lines))?.(mail);
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({ msg: "mail", ...mail });
});

test("a template is filled in where texts are, and no value changes its structure", () => {
  const template = {
    sender: { email: "{{from}}" },
    to: [{ email: "{{to}}" }],
    n: 1,
    on: true,
    off: null,
    s: "{{subject}}: {{text}} {{x}}",
  };
  const text = '"},{{to}}';
  expect(fillIn(template, { ...mail, text, from: "a@b.example" })).toEqual({
    sender: { email: "a@b.example" },
    to: [{ email: mail.to }],
    n: 1,
    on: true,
    off: null,
    s: `${mail.subject}: ${text} {{x}}`,
  });
});

test("a service gets the key in the header that it wants; a redirect or an error is a failure that tells nothing of the mail", async () => {
  const settings = readMailSettings(http({ keyHeader: "x-server-token" }), "hunter2", "causeway.example");
  const seen: Request[] = [];
  const answering = (status: number) => {
    const fetcher: typeof fetch = async (input, init) => {
      seen.push(new Request(input, init));
      return new Response(null, { status, headers: { location: "https://evil.example/" } });
    };
    return createSendMail(settings satisfies MailSettings, { ...ports(), fetcher });
  };
  await answering(202)?.(mail);
  expect(seen[0]?.headers.get("x-server-token")).toBe("hunter2");
  expect(await seen[0]?.json()).toEqual({ from: "a@b.example", ...mail });
  expect(seen[0]?.redirect).toBe("manual");
  for (const status of [302, 401, 500]) {
    await expect(answering(status)?.(mail)).rejects.toThrow(`the mail service answered ${status}`);
  }
});
