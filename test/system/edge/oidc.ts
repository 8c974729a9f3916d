import { createServer } from "node:http";
import { Provider } from "oidc-provider";
import { listenOnLoopback } from "../../support/listen.ts";
import { createBrowser } from "./browser.ts";

/** What the outside provider says of a person. */
export interface OutsidePerson {
  readonly email: string;
  readonly isVerified: boolean;
}

/** A real OpenID Connect provider on loopback where whoever types a known name is that person. */
export interface OidcStack {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** By the name that they sign in with. */
  readonly people: Map<string, OutsidePerson>;
  /** Signs in as `name` at the address that the portal sent the browser to; answers where the provider sends it back to. */
  signIn(location: string, name: string): Promise<string>;
  stop(): Promise<void>;
}

export async function startOidc(redirectUri: () => string): Promise<OidcStack> {
  const server = createServer();
  const port = await listenOnLoopback(server);
  const issuer = `http://127.0.0.1:${port}`;
  const people = new Map<string, OutsidePerson>();
  const client = { clientId: "causeway", clientSecret: "a-secret-that-only-the-portal-and-the-provider-know" };
  let answer: ReturnType<Provider["callback"]> | null = null;
  // Made at the first request: the portal's port is known only then.
  const provider = () =>
    new Provider(issuer, {
      clients: [{ client_id: client.clientId, client_secret: client.clientSecret, redirect_uris: [redirectUri()] }],
      claims: { email: ["email", "email_verified"] },
      cookies: { keys: ["a key of the test's provider"] },
      pkce: { required: () => true },
      findAccount: (_, sub) => {
        const person = people.get(sub);
        if (person === undefined) return undefined;
        return { accountId: sub, claims: () => ({ sub, email: person.email, email_verified: person.isVerified }) };
      },
    });
  server.on("request", (request, response) => void (answer ??= provider().callback())(request, response));
  return {
    issuer,
    ...client,
    people,
    async signIn(location, name) {
      const browser = createBrowser(port);
      let { answer: shown, urls } = await browser.follow(location);
      for (const form of [{ prompt: "login", login: name, password: "x" }, { prompt: "consent" }]) {
        const [, action = ""] = /action="([^"]+)"/.exec(shown.body) ?? [];
        let next = new URL(action, urls.at(-1)).toString();
        let last = await browser.visit(next, form);
        while (last.headers.location !== undefined) {
          next = new URL(last.headers.location, next).toString();
          if (!next.startsWith(issuer)) return next;
          last = await browser.visit(next);
        }
        [shown, urls] = [last, [next]];
      }
      throw new Error("the provider does not send the browser back");
    },
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
