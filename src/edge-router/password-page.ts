import { readCookie } from "../policy/headers.ts";
import { escapeHtml, PAGE_SECURITY_HEADERS, pageHtml } from "../policy/error-page.ts";
import { visitorKey } from "../policy/network.ts";
import type { DirectoryRecord } from "../policy/record.ts";
import { HEADER } from "../protocol/headers.ts";
import { declaredLength } from "./content-length.ts";
import { LIMITS } from "./limits.ts";
import { cookieName, isOwnForm, isOwnPath, ownCookie, sameOrigin, seeOther } from "./own-cookies.ts";
import type { EdgePorts } from "./ports.ts";
import { refuse, type Visit } from "./visit.ts";
import { isVisitorPassword } from "./visitor-password.ts";

type PasswordPorts = Pick<EdgePorts, "passes" | "rates">;

/** Whether the request's cookie proves that the visitor knows the tenant's password; nobody does where there is none. */
export async function knowsPassword(
  visit: Visit,
  record: DirectoryRecord,
  passes: EdgePorts["passes"],
): Promise<boolean> {
  const password = record.policy?.password ?? null;
  if (password === null) return false;
  const token = readCookie(visit.request.headers.get("cookie"), cookieName(visit, "-pass"));
  return token !== null && (await passes.isGood(token, record, password));
}

/** The form in place of the page that wants a password. */
export const askPassword = (visit: Visit): Response => passwordPage(visit, visit.rawPath + visit.rawQuery, null, 401);

/** `POST /.causeway/password`: the form's answer. */
export async function takePassword(visit: Visit, record: DirectoryRecord, ports: PasswordPorts): Promise<Response> {
  if (!isOwnForm(visit)) return refuse(visit, "forbidden", "The password is taken from this site's own page only.");
  const form = await readForm(visit);
  if (form === null) return refuse(visit, "bad-request", "This is not the password form.");
  const password = record.policy?.password ?? null;
  if (password === null) return refuse(visit, "not-found", "This site has no password.");
  const waitMs = ports.rates.admitTry(record.tenantId, visitorKey(visit.clientAddress));
  if (waitMs > 0) {
    const page = passwordPage(visit, form.next, "Too many tries. Wait a minute, then try again.", 429);
    page.headers.set("retry-after", String(Math.ceil(waitMs / 1_000)));
    return page;
  }
  if (!(await isVisitorPassword(form.password, password))) {
    return passwordPage(visit, form.next, "This is not the password.", 401);
  }
  const { token, maxAgeSeconds } = await ports.passes.issue(record, password);
  return seeOther(sameOrigin(visit, form.next), [ownCookie(visit, cookieName(visit, "-pass"), token, maxAgeSeconds)]);
}

function passwordPage(visit: Visit, path: string, error: string | null, status: 401 | 429): Response {
  const next = path.length <= LIMITS.returnPathLength && isOwnPath(path) ? path : "/";
  const problem = error === null ? "" : `<p class="error" role="alert">${escapeHtml(error)}</p>`;
  const html = pageHtml(
    "Password",
    `<h1>Password needed</h1><p class="soft">Whoever sent you here can tell you the password of this site.</p>${problem}` +
      `<form method="post" action="/.causeway/password"><input type="hidden" name="next" value="${escapeHtml(next)}">` +
      `<label for="password">Password</label><input id="password" name="password" type="password" required autofocus ` +
      `autocomplete="current-password"><button type="submit">Go on</button></form>`,
  );
  return new Response(visit.method === "HEAD" ? null : html, {
    status,
    headers: {
      "content-type": "text/html; charset=utf-8",
      ...PAGE_SECURITY_HEADERS,
      [HEADER.error]: status === 401 ? "unauthorized" : "rate-limited",
      [HEADER.requestId]: visit.requestId,
      vary: "accept, cookie",
    },
  });
}

async function readForm({ request }: Visit): Promise<{ password: string; next: string } | null> {
  const length = declaredLength(request.headers);
  const type = request.headers.get("content-type")?.split(";", 1)[0]?.trim().toLowerCase();
  if (length === null || length > LIMITS.passwordFormBytes || type !== "application/x-www-form-urlencoded") return null;
  const form = new URLSearchParams(await request.text());
  const password = form.get("password");
  const next = form.get("next") ?? "/";
  if (password === null || password === "" || password.length > LIMITS.passwordLength) return null;
  return { password, next: next.length <= LIMITS.returnPathLength && isOwnPath(next) ? next : "/" };
}
