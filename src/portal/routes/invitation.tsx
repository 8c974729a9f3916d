/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
import type { Context, Hono } from "hono";
import { z } from "zod";
import { HEADER } from "../../protocol/headers.ts";
import type { PortalPorts } from "../app.tsx";
import { passwordField, readForm, tokenField, type App } from "../forms.ts";
import { InvitationPage } from "../invitation-page.tsx";
import { DonePage, LinkGonePage } from "../mail-pages.tsx";
import { portalOrigin, type PortalSettings } from "../settings.ts";

const acceptForm = z.object({ token: tokenField, password: passwordField.optional() });

/** The page of an invitation's link, and joining by it. */
export function addInvitationRoutes(app: Hono<App>, ports: PortalPorts, settings: PortalSettings): void {
  const origin = portalOrigin(settings);
  const canSignUp = settings.signUp !== "closed";

  async function show(
    c: Context<App>,
    token: string,
    error: string | null,
    status: 200 | 400 | 409,
  ): Promise<Response> {
    const invitation = await ports.invitations().peek(token);
    if (invitation === null) return gone(c);
    const session = await ports.accounts().current(c.req.raw);
    const signedInAs = session?.email ?? null;
    return c.html(<InvitationPage {...{ invitation, token, signedInAs, canSignUp, error }} />, status);
  }

  function gone(c: Context<App>): Response | Promise<Response> {
    c.header(HEADER.error, "bad-request");
    return c.html(<LinkGonePage again={null} />, 400);
  }

  app.get("/invitation", async (c) => {
    const token = tokenField.safeParse(c.req.query("token"));
    return token.success ? await show(c, token.data, null, 200) : await gone(c);
  });

  app.post("/invitation", async (c) => {
    const form = await readForm(c, origin, acceptForm);
    if (form instanceof Response) return form;
    const session = await ports.accounts().current(c.req.raw);
    const outcome = await ports.invitations().accept(form.token, session, form.password ?? null);
    if (outcome.kind === "gone") return await gone(c);
    if (outcome.kind === "refused") {
      c.header(HEADER.error, "bad-request");
      return await show(c, form.token, outcome.problem, 400);
    }
    if (outcome.kind !== "joined") {
      // The page itself says what to do instead.
      c.header(HEADER.error, "conflict");
      return await show(c, form.token, null, 409);
    }
    const href = session === null ? "/sign-in" : "/";
    const title = `You are a member of ${outcome.tenantName}`;
    const text = session === null ? "Sign in with the password that you chose." : "You can open its pages now.";
    const button = session === null ? "Sign in" : "Your tenants";
    return await c.html(<DonePage {...{ title, text, href, button }} />);
  });
}
