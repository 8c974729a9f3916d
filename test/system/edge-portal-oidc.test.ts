import postgres from "postgres";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ROLE_PASSWORDS, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { createBrowser } from "./edge/browser.ts";
import { startOidc, type OidcStack } from "./edge/oidc.ts";
import { BASE } from "./edge/records.ts";
import { startEdgeStack, type EdgeStack } from "./edge/stack.ts";

// Sign-in with an outside provider: the real portal on workerd against a real OpenID Connect provider (oidc-provider).
let pg: TestPostgres;
let sql: postgres.Sql;
let stack: EdgeStack;
let oidc: OidcStack;
const PASSWORD = "correct horse battery";
const portalUrl = (path = "/"): string => `http://${BASE}:${stack.port}${path}`;
type Browser = ReturnType<typeof createBrowser>;

beforeAll(async () => {
  pg = await startPostgres();
  oidc = await startOidc(() => portalUrl("/api/auth/callback/oidc"));
  const database = await pg.createDatabase();
  const url = pg.url(database, { user: "causeway_portal", password: ROLE_PASSWORDS.causeway_portal });
  const settings = { issuer: oidc.issuer, clientId: oidc.clientId, name: "Example ID" };
  const vars = { OIDC: JSON.stringify(settings), OIDC_CLIENT_SECRET: oidc.clientSecret, SIGN_UP: "open" };
  stack = await startEdgeStack(url, {}, vars);
  sql = postgres(pg.url(database), { max: 2, onnotice: () => {} });
});
afterAll(async () => {
  await stack.stop();
  await oidc.stop();
  await sql.end();
  await pg.stop();
});
beforeEach(async () => {
  await sql`delete from portal.rate_limit`;
});

/** The way to the provider and back as `name`; answers the portal's last redirect. */
async function signInAs(browser: Browser, name: string, next = "/account"): Promise<string> {
  const begun = await browser.visit(portalUrl("/sign-in/provider"), { next });
  expect(begun.status).toBe(303);
  const back = await oidc.signIn(begun.headers.location ?? "", name);
  return (await browser.visit(back)).headers.location ?? "";
}
const member = async (email: string, isVerified: boolean) => {
  const tenant = { tenantId: "ten_acme", slug: "acme", cluster: "default", role: "member" as const };
  const { accountId } = await stack.members.ensureMember({ ...tenant, email, password: PASSWORD });
  await sql`update portal.user set email_verified = ${isVerified} where id = ${accountId}`;
  return accountId;
};

describe("an account at an outside provider", () => {
  test("makes an account here and signs in to the same one again, with PKCE, state and nonce", async () => {
    oidc.people.set("new", { email: "new@id.example", isVerified: true });
    const browser = createBrowser(stack.port);
    expect((await browser.visit(portalUrl("/sign-in"))).body).toContain("Sign in with Example ID");
    const begun = await browser.visit(portalUrl("/sign-in/provider"), { next: "/" });
    const asked = new URL(begun.headers.location ?? "").searchParams;
    expect(asked.get("code_challenge_method")).toBe("S256");
    for (const name of ["state", "nonce", "code_challenge"]) expect(asked.get(name)).toMatch(/^.{20,}$/);
    expect(begun.headers["set-cookie"]?.join()).toMatch(/HttpOnly; SameSite=Lax/i);

    expect(await signInAs(createBrowser(stack.port), "new")).toBe("/account");
    const again = createBrowser(stack.port);
    expect(await signInAs(again, "new")).toBe("/account");
    expect((await again.visit(portalUrl("/account"))).body).toContain("new@id.example");
    const rows = await sql`select email_verified from portal.user where email = 'new@id.example'`;
    expect(rows).toEqual([{ email_verified: true }]);
  });

  test("is linked to the account of the same address when both sides have verified it", async () => {
    oidc.people.set("ann", { email: "ann@acme.example", isVerified: true });
    const accountId = await member("ann@acme.example", true);
    const browser = createBrowser(stack.port);
    expect(await signInAs(browser, "ann", "/")).toBe("/");
    const rows = await sql`select provider_id from portal.account where user_id = ${accountId} order by provider_id`;
    expect(rows).toEqual([{ provider_id: "credential" }, { provider_id: "oidc" }]);
    const account = (await browser.visit(portalUrl("/account"))).body;
    for (const shown of ["Other ways to sign in", "<strong>Example ID</strong>", oidc.issuer]) {
      expect(account).toContain(shown);
    }
    // The password stays.
    const form = { email: "ann@acme.example", password: PASSWORD, next: "/" };
    expect((await createBrowser(stack.port).visit(portalUrl("/sign-in"), form)).status).toBe(303);
  });

  test("is unlinked by its owner, which ends all other sessions; never the last way to sign in, never another's", async () => {
    oidc.people.set("una", { email: "una@acme.example", isVerified: true });
    oidc.people.set("only", { email: "only@id.example", isVerified: true });
    const accountId = await member("una@acme.example", true);
    const [browser, elsewhere, only] = [
      createBrowser(stack.port),
      createBrowser(stack.port),
      createBrowser(stack.port),
    ];
    for (const one of [browser, elsewhere]) expect(await signInAs(one, "una", "/")).toBe("/");
    expect(await signInAs(only, "only", "/")).toBe("/");
    const linkOf = async (email: string): Promise<string> => {
      const [row] = await sql<{ id: string }[]>`select a.id from portal.account a join portal.user u on u.id = a.user_id
        where u.email = ${email} and a.provider_id = 'oidc'`;
      return row?.id ?? "";
    };
    const unlink = async (who: Browser, link: string) =>
      (({ status, headers }) => [status, headers.location, headers["causeway-error"]])(
        await who.visit(portalUrl("/account/unlink"), { link }),
      );
    const last = await linkOf("only@id.example");
    expect(await unlink(only, last)).toEqual([409, undefined, "conflict"]);
    expect((await only.visit(portalUrl("/account"))).body).toContain("Your only way to sign in");
    expect(await unlink(browser, last)).toEqual([303, "/account", undefined]);
    expect(await linkOf("only@id.example")).toBe(last);

    expect((await browser.visit(portalUrl("/account"))).body).toContain("Unlink");
    expect(await unlink(browser, await linkOf("una@acme.example"))).toEqual([303, "/account?done=unlinked", undefined]);
    expect((await browser.visit(portalUrl("/account?done=unlinked"))).body).not.toContain("Other ways to sign in");
    expect((await elsewhere.visit(portalUrl("/account"))).status).toBe(303);
    const left = await sql`select provider_id from portal.account where user_id = ${accountId}`;
    expect(left).toEqual([{ provider_id: "credential" }]);
  });

  test.each([
    ["the provider has not verified the address", "eve", "vic@acme.example", false, true],
    ["we have not", "joe", "joe@acme.example", true, false],
  ])("is not linked when %s", async (_, name, email, isVerifiedThere, isVerifiedHere) => {
    oidc.people.set(name, { email, isVerified: isVerifiedThere });
    const accountId = await member(email, isVerifiedHere);
    const browser = createBrowser(stack.port);
    expect(await signInAs(browser, name)).toBe("/sign-in?error=provider");
    expect((await browser.visit(portalUrl("/account"))).status).toBe(303);
    expect(await sql`select provider_id from portal.account where user_id = ${accountId}`).toHaveLength(1);
    expect((await browser.visit(portalUrl("/sign-in?error=provider"))).body).toContain('role="alert"');
  });

  test("with an address that the provider did not verify makes no account either", async () => {
    oidc.people.set("nix", { email: "nix@id.example", isVerified: false });
    expect(await signInAs(createBrowser(stack.port), "nix")).toBe("/sign-in?error=provider");
    expect(await sql`select 1 from portal.user where email = 'nix@id.example'`).toHaveLength(0);
  });

  test("signs in only the browser that began, and only once", async () => {
    oidc.people.set("rob", { email: "rob@id.example", isVerified: true });
    const browser = createBrowser(stack.port);
    const begun = await browser.visit(portalUrl("/sign-in/provider"), { next: "/" });
    const back = await oidc.signIn(begun.headers.location ?? "", "rob");
    const other = createBrowser(stack.port);
    expect((await other.visit(back)).headers.location).toBe("/sign-in?error=provider");
    expect(other.cookies(BASE).has("causeway-portal")).toBe(false);
    const forged = await browser.visit(portalUrl("/api/auth/callback/oidc?code=x&state=y"));
    expect(forged.headers.location).toBe("/sign-in?error=provider");
    const first = createBrowser(stack.port);
    const again = await first.visit(portalUrl("/sign-in/provider"), { next: "/" });
    const good = await oidc.signIn(again.headers.location ?? "", "rob");
    const stateCookies = [...first.cookies(BASE)];
    expect((await first.visit(good)).headers.location).toBe("/");
    for (const [name, value] of stateCookies) first.setCookie(BASE, name, value);
    expect((await first.visit(good)).headers.location).toBe("/sign-in?error=provider");
  });

  test.each([{ origin: "http://evil.example" }, { "sec-fetch-site": "cross-site" }])(
    "is not asked for by another site (%o)",
    async (headers) => {
      const answer = await createBrowser(stack.port).visit(portalUrl("/sign-in/provider"), { next: "/" }, headers);
      expect([answer.status, answer.headers.location]).toEqual([403, undefined]);
    },
  );

  test.each(["https://evil.example", "//evil.example", "/\\evil.example"])("does not lead to %s", async (next) => {
    const answer = await createBrowser(stack.port).visit(portalUrl("/sign-in/provider"), { next });
    expect([answer.status, answer.headers.location]).toEqual([400, undefined]);
  });

  test("leaves no token, code or address in the log", () => {
    expect(JSON.stringify(stack.log)).not.toMatch(/@id\.example|@acme\.example|eyJ|code=/);
  });
});
