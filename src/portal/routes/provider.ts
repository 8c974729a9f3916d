import type { Context, Hono } from "hono";
import { z } from "zod";
import type { PortalPorts } from "../app.tsx";
import { nextPath, problem, readForm, type App } from "../forms.ts";
import { PROVIDER_CALLBACK, type ProviderRedirect } from "../provider-sign-in.ts";
import { portalOrigin, type PortalSettings } from "../settings.ts";

const beginForm = z.object({ next: nextPath });

/** To the outside provider and back. */
export function addProviderRoutes(app: Hono<App>, ports: PortalPorts, settings: PortalSettings): void {
  const origin = portalOrigin(settings);
  const none = (c: Context<App>) => problem(c, "not-found", "The portal has no such page.");

  function go(c: Context<App>, { location, setCookies }: ProviderRedirect): Response {
    for (const cookie of setCookies) c.header("set-cookie", cookie, { append: true });
    return c.redirect(location, 303);
  }

  app.post("/sign-in/provider", async (c) => {
    const form = await readForm(c, origin, beginForm);
    if (form instanceof Response) return form;
    const provider = ports.provider();
    return provider === null ? none(c) : go(c, await provider.begin(c.req.raw, form.next));
  });

  app.get(PROVIDER_CALLBACK, async (c) => {
    const provider = ports.provider();
    return provider === null ? none(c) : go(c, await provider.finish(c.req.raw));
  });
}
