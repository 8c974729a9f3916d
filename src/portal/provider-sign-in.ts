import { z } from "zod";
import type { Db } from "../db/client.ts";
import { HEADER } from "../protocol/headers.ts";
import type { Logger } from "../shared/log.ts";
import { AUTH_PATH, createAuth, PROVIDER_ID } from "./auth.ts";
import { portalOrigin, type PortalSettings } from "./settings.ts";

/** Where the outside provider sends browsers back to; its client must be registered with this address. */
export const PROVIDER_CALLBACK = `${AUTH_PATH}/callback/${PROVIDER_ID}`;

export interface ProviderRedirect {
  readonly location: string;
  readonly setCookies: readonly string[];
}

/** Sign-in with an account of the outside provider: OpenID Connect with PKCE, state and nonce, by better-auth. */
export interface ProviderSignIn {
  /** To the provider. `next`: path of this portal to come back to. */
  begin(request: Request, next: string): Promise<ProviderRedirect>;
  /** Back from the provider: to `next` with a session, or to the sign-in page with `error`. */
  finish(request: Request): Promise<ProviderRedirect>;
}

const begun = z.object({ url: z.url({ protocol: /^https?$/ }) });

export function createProviderSignIn(db: Db, settings: PortalSettings, log: Logger): ProviderSignIn {
  const auth = createAuth(db, settings, log, "provider");
  const origin = portalOrigin(settings);

  function headersOf(request: Request): Headers {
    const headers = new Headers({ origin });
    for (const name of ["cookie", "user-agent", HEADER.clientAddress]) {
      const value = request.headers.get(name);
      if (value !== null) headers.set(name, value);
    }
    return headers;
  }

  return {
    async begin(request, next) {
      const headers = headersOf(request);
      headers.set("content-type", "application/json");
      const callbacks = { callbackURL: `${origin}${next}`, errorCallbackURL: `${origin}/sign-in` };
      const body = JSON.stringify({ provider: PROVIDER_ID, ...callbacks, disableRedirect: true });
      const url = `${origin}${AUTH_PATH}/sign-in/social`;
      const answer = await auth.handler(new Request(url, { method: "POST", headers, body }));
      if (!answer.ok) throw new Error(`better-auth answered ${answer.status}`);
      return { location: begun.parse(await answer.json()).url, setCookies: answer.headers.getSetCookie() };
    },
    async finish(request) {
      const url = `${origin}${PROVIDER_CALLBACK}${new URL(request.url).search}`;
      const answer = await auth.handler(new Request(url, { headers: headersOf(request) }));
      const location = new URL(answer.headers.get("location") ?? "/sign-in?error=failed", origin);
      // Whatever a state says, nobody is sent elsewhere; and what the provider says of an error is not shown.
      const isOurs = location.origin === origin && !location.searchParams.has("error");
      return {
        location: isOurs ? location.pathname + location.search : "/sign-in?error=provider",
        setCookies: answer.headers.getSetCookie(),
      };
    },
  };
}
