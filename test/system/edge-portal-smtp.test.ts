import { createServer, type Server } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ROLE_PASSWORDS, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { until } from "../support/until.ts";
import { createBrowser } from "./edge/browser.ts";
import { BASE } from "./edge/records.ts";
import { startEdgeStack, type EdgeStack } from "./edge/stack.ts";
import { listenOnLoopback } from "../support/listen.ts";

// Mail by SMTP from the portal on workerd to a server of this machine.
let pg: TestPostgres;
let stack: EdgeStack;
let server: Server;
const commands: string[] = [];
const messages: string[] = [];

beforeAll(async () => {
  server = createServer((socket) => {
    let isData = false;
    let text = "";
    socket.write("220 mail.example\r\n");
    socket.on("data", (chunk) => {
      text += chunk.toString();
      for (let end = text.indexOf("\r\n"); end !== -1; end = text.indexOf("\r\n")) {
        const line = text.slice(0, end);
        text = text.slice(end + 2);
        if (isData && line !== ".") messages[messages.length - 1] += `${line}\n`;
        else if (isData) {
          isData = false;
          socket.write("250 queued\r\n");
        } else {
          commands.push(line);
          isData = line === "DATA";
          if (isData) messages.push("");
          socket.write(isData ? "354 go on\r\n" : line.startsWith("AUTH") ? "235 in\r\n" : "250 ok\r\n");
        }
      }
    });
  });
  const port = await listenOnLoopback(server);
  pg = await startPostgres();
  const url = pg.url(await pg.createDatabase(), { user: "causeway_portal", password: ROLE_PASSWORDS.causeway_portal });
  const mail = {
    kind: "smtp",
    host: "127.0.0.1",
    port: port,
    tls: "starttls",
    user: "u",
    from: "no-reply@c.example",
  };
  stack = await startEdgeStack(url, {}, { MAIL: JSON.stringify(mail), MAIL_KEY: "hunter2", SIGN_UP: "open" });
});
afterAll(async () => {
  await stack?.stop();
  server?.close();
  await pg?.stop();
});

test("a sign-up is mailed by SMTP, and its link works", async () => {
  const browser = createBrowser(stack.port);
  const portal = `http://${BASE}:${stack.port}`;
  expect((await browser.visit(`${portal}/sign-up`, { email: "ann@acme.example" })).status).toBe(200);
  await until("a mail", () => commands.includes("QUIT"));
  expect(commands.map((line) => line.split(" ").slice(0, 2).join(" "))).toEqual([
    "EHLO c.example",
    "AUTH PLAIN",
    "MAIL FROM:<no-reply@c.example>",
    "RCPT TO:<ann@acme.example>",
    "DATA",
    "QUIT",
  ]);
  const text = Buffer.from(messages[0]?.split("\n\n")[1] ?? "", "base64").toString();
  const link = /https?:\/\/\S+/.exec(text)?.[0] ?? "";
  expect((await browser.visit(link)).body).toContain("Choose a password");
  expect(JSON.stringify(stack.log)).not.toMatch(/hunter2|ann@acme/);
});
