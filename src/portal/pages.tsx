/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
import type { Child } from "hono/jsx";
import { raw } from "hono/html";
import { BRAND_MARK, PAGE_STYLE } from "../policy/error-page.ts";
import type { TenantStatus } from "../protocol/tenants-rpc.ts";
import { LIMITS } from "./limits.ts";
import { STATE_TEXTS } from "./tenant-states.ts";

/** Pages of the portal. They work without a script, on a phone, with a keyboard and a screen reader, in light and dark. */
export function Page({ title, wide = false, children }: { title: string; wide?: boolean; children?: Child }) {
  return (
    <>
      {raw("<!doctype html>")}
      <html lang="en">
        <head>
          <meta charset="utf-8" />
          <meta name="viewport" content="width=device-width,initial-scale=1" />
          <meta name="robots" content="noindex" />
          <title>{title}</title>
          <style>{raw(PAGE_STYLE)}</style>
        </head>
        <body>
          <main {...(wide ? { class: "wide" } : {})}>
            <div class="brand">{raw(BRAND_MARK)}Causeway</div>
            {children}
          </main>
        </body>
      </html>
    </>
  );
}

/** What is wrong with the form below it; nothing for null. Fields name it in `aria-describedby`. */
export function Problem({ text }: { text: string | null }) {
  return text === null ? null : (
    <p class="error" role="alert" id="problem">
      {text}
    </p>
  );
}

export interface TenantLink {
  readonly name: string;
  /** Null where its host is not known here, or where it is not there yet. */
  readonly url: string | null;
  readonly role: string;
  readonly state: TenantStatus["state"];
  /** Path of its page at the portal. */
  readonly page: string;
}

export function WelcomePage(props: {
  signedIn: { email: string; tenants: readonly TenantLink[]; canCreate: boolean } | null;
  canSignUp: boolean;
}) {
  const { signedIn } = props;
  if (signedIn === null) {
    return (
      <Page title="Causeway">
        <h1>Welcome</h1>
        <p class="soft">
          This is the front door of the platform. Open your tenant's own address, or sign in here first.
        </p>
        <a class="button" href="/sign-in?next=/">
          Sign in
        </a>
        {props.canSignUp ? (
          <p class="soft">
            New here? <a href="/sign-up">Sign up</a>
          </p>
        ) : null}
      </Page>
    );
  }
  return (
    <Page title="Causeway">
      <h1>Welcome back</h1>
      <p class="soft">You are signed in as {signedIn.email}.</p>
      {signedIn.tenants.length === 0 ? (
        <p>You are not a member of any tenant yet.</p>
      ) : (
        <>
          <h2 id="tenants">Choose a tenant</h2>
          <ul class="choices" aria-labelledby="tenants">
            {signedIn.tenants.map((tenant) => (
              <li>
                <a class="choice" href={tenant.url ?? tenant.page}>
                  <strong>{tenant.name}</strong>
                  <span class="soft">
                    {tenant.role}
                    {tenant.state === "active" ? "" : `, ${STATE_TEXTS[tenant.state]}`}
                  </span>
                </a>
                <a href={tenant.page} aria-label={`About ${tenant.name}`}>
                  About
                </a>
              </li>
            ))}
          </ul>
        </>
      )}
      {signedIn.canCreate ? (
        <a class="button" href="/tenants/new">
          New tenant
        </a>
      ) : null}
      <p>
        <a href="/account">Your account</a>
      </p>
      <SignOutForm />
    </Page>
  );
}

export function UnknownHostPage(props: { host: string | null; portalUrl: string; requestId: string }) {
  return (
    <Page title="No tenant has this address">
      <h1>Nobody is here</h1>
      <p class="soft">
        {props.host === null ? "This address" : <code>{props.host}</code>} does not belong to any tenant of this
        platform. Check the spelling; a tenant that was just created takes a second or two.
      </p>
      <a class="button" href={props.portalUrl}>
        Go to the start page
      </a>
      <dl>
        <dt>Code</dt>
        <dd>
          <code>unknown-host</code>
        </dd>
        <dt>Request</dt>
        <dd>
          <code>{props.requestId}</code>
        </dd>
      </dl>
    </Page>
  );
}

export interface SignInPageProps {
  /** Host that asked for the sign-in; null for the portal itself. */
  readonly host: string | null;
  /** Path of this portal to go on to. */
  readonly next: string;
  readonly email: string;
  readonly error: string | null;
  readonly canSignUp: boolean;
  /** Name of the outside provider on its button; null without one. */
  readonly provider: string | null;
}

export function SignInPage({ host, next, email, error, canSignUp, provider }: SignInPageProps) {
  return (
    <Page title={error === null ? "Sign in" : "Error: sign in"}>
      <h1>Sign in</h1>
      <p class="soft">
        {host === null ? (
          "Use your account of this platform."
        ) : (
          <>
            to go on to <code>{host}</code>
          </>
        )}
      </p>
      <Problem text={error} />
      <form method="post" action="/sign-in">
        <input type="hidden" name="next" value={next} />
        <label for="email">E-mail</label>
        <input
          id="email"
          name="email"
          type="email"
          value={email}
          autocomplete="username"
          autocapitalize="none"
          spellcheck={false}
          maxlength={254}
          required
          autofocus={email === ""}
        />
        <label for="password">Password</label>
        <input
          id="password"
          name="password"
          type="password"
          autocomplete="current-password"
          maxlength={LIMITS.passwordMaxLength}
          required
          autofocus={email !== ""}
          {...(error === null ? {} : { "aria-describedby": "problem" })}
        />
        <button type="submit">Sign in</button>
      </form>
      {provider === null ? null : (
        <form method="post" action="/sign-in/provider">
          <input type="hidden" name="next" value={next} />
          <button type="submit" class="plain">
            Sign in with {provider}
          </button>
        </form>
      )}
      <p class="soft">
        <a href="/forgot-password">Forgotten your password?</a>
        {canSignUp ? (
          <>
            {" "}
            New here? <a href="/sign-up">Sign up</a>
          </>
        ) : null}
      </p>
    </Page>
  );
}

export function NotMemberPage(props: { email: string; host: string; requestId: string }) {
  return (
    <Page title="Not a member">
      <h1>This is not your tenant</h1>
      <p class="soft">
        You are signed in as {props.email}, and this account is no member of the tenant at <code>{props.host}</code>.
        Ask one of its members to add you, or use another account.
      </p>
      <SignOutForm />
      <dl>
        <dt>Code</dt>
        <dd>
          <code>forbidden</code>
        </dd>
        <dt>Request</dt>
        <dd>
          <code>{props.requestId}</code>
        </dd>
      </dl>
    </Page>
  );
}

export function SignOutPage() {
  return (
    <Page title="Sign out">
      <h1>Sign out?</h1>
      <p class="soft">You will have to sign in again before a tenant lets you in anew.</p>
      <SignOutForm />
    </Page>
  );
}

export function SignedOutPage() {
  return (
    <Page title="Signed out">
      <h1>You are signed out</h1>
      <p class="soft">This browser has no session at the platform any more.</p>
      <a class="button" href="/sign-in?next=/">
        Sign in again
      </a>
    </Page>
  );
}

export function SignOutForm() {
  return (
    <form method="post" action="/sign-out">
      <button type="submit" class="plain">
        Sign out
      </button>
    </form>
  );
}
