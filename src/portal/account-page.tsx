/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
import type { LinkedAccount, PortalSession, SessionView } from "./accounts.ts";
import type { ConsentView } from "./consents.ts";
import { LIMITS } from "./limits.ts";
import { NewPasswordField } from "./mail-pages.tsx";
import { Page, Problem, SignOutForm } from "./pages.tsx";

export interface AccountPageProps {
  readonly session: PortalSession;
  readonly sessions: readonly SessionView[];
  readonly hasPassword: boolean;
  /** Accounts at outside providers that sign in to this one. */
  readonly linked: readonly LinkedAccount[];
  /** Tenants that know who this is, though it is no member. */
  readonly consents: readonly ConsentView[];
  readonly hasMail: boolean;
  readonly error: string | null;
  /** What was just done; null for nothing. */
  readonly notice: string | null;
}

export function AccountPage(props: AccountPageProps) {
  const { session, sessions, hasPassword, linked, consents, hasMail, error, notice } = props;
  return (
    <Page title={error === null ? "Your account" : "Error: your account"}>
      <h1>Your account</h1>
      <p class="soft">{session.email}</p>
      {notice === null ? null : (
        <p class="notice" role="status">
          {notice}
        </p>
      )}
      <Problem text={error} />
      {session.isVerified || !hasMail ? null : (
        <form method="post" action="/account/verify">
          <p>Your address is not confirmed yet.</p>
          <button type="submit" class="plain">
            Send a mail to confirm it
          </button>
        </form>
      )}
      {hasPassword ? <ChangePassword email={session.email} hasError={error !== null} /> : null}
      {linked.length === 0 ? null : (
        <>
          <h2 id="linked">Other ways to sign in</h2>
          <ul class="rows" aria-labelledby="linked">
            {linked.map((link) => (
              <li>
                <LinkRow link={link} />
              </li>
            ))}
          </ul>
          <p class="soft" id="unlink">
            Unlinking ends all your other sessions. Whoever signs in there with your address, confirmed, links it again.
          </p>
        </>
      )}
      {consents.length === 0 ? null : <KnownBy consents={consents} />}
      <h2 id="sessions">Where you are signed in</h2>
      <ul class="rows" aria-labelledby="sessions">
        {sessions.map((each) => (
          <li>
            <SessionRow session={each} isThis={each.id === session.sessionId} />
          </li>
        ))}
      </ul>
      <form method="post" action="/account/sign-out-everywhere">
        <button type="submit" class="plain bad">
          Sign out everywhere
        </button>
      </form>
      <SignOutForm />
      <p>
        <a href="/">Your tenants</a>
      </p>
    </Page>
  );
}

function LinkRow({ link: { id, name, issuer, createdAt, isSpare } }: { readonly link: LinkedAccount }) {
  return (
    <>
      <strong>{name}</strong>
      <br />
      <span class="soft">
        {issuer}, since <Day of={createdAt} />
      </span>
      {isSpare ? (
        <form method="post" action="/account/unlink">
          <input type="hidden" name="link" value={id} />
          <button type="submit" class="plain" aria-label={`Unlink ${name}`} aria-describedby="unlink">
            Unlink
          </button>
        </form>
      ) : (
        <p class="soft">Your only way to sign in: set a password first to unlink it.</p>
      )}
    </>
  );
}

function ChangePassword({ email, hasError }: { readonly email: string; readonly hasError: boolean }) {
  return (
    <>
      <h2>Change the password</h2>
      <form method="post" action="/account/password">
        <input type="hidden" name="username" value={email} autocomplete="username" />
        <label for="current-password">Current password</label>
        <input
          id="current-password"
          name="current"
          type="password"
          autocomplete="current-password"
          maxlength={LIMITS.passwordMaxLength}
          required
          {...(hasError ? { "aria-describedby": "problem" } : {})}
        />
        <NewPasswordField hasError={hasError} />
        <button type="submit">Change the password</button>
      </form>
    </>
  );
}

function KnownBy({ consents }: { readonly consents: readonly ConsentView[] }) {
  return (
    <>
      <h2 id="known">Tenants that know you</h2>
      <p class="soft" id="forget">
        You are no member there, and allowed them to know your address and account. Taking it back ends your sessions on
        tenants' pages; those that you may still open sign you in again by themselves. What a tenant has noted of you is
        its own matter.
      </p>
      <ul class="rows" aria-labelledby="known">
        {consents.map(({ tenantId, name, host, createdAt }) => (
          <li>
            <strong>{name}</strong>
            <br />
            <span class="soft">
              {host}, since <Day of={createdAt} />
            </span>
            <form method="post" action="/account/forget-tenant">
              <input type="hidden" name="tenant" value={tenantId} />
              <button type="submit" class="plain" aria-label={`Forget me: ${name}`} aria-describedby="forget">
                Forget me
              </button>
            </form>
          </li>
        ))}
      </ul>
    </>
  );
}

function Day({ of }: { readonly of: Date }) {
  const at = of.toISOString();
  return <time datetime={at}>{at.slice(0, 10)}</time>;
}

function SessionRow({ session, isThis }: { readonly session: SessionView; readonly isThis: boolean }) {
  const since = session.createdAt.toISOString();
  const name = browserName(session.userAgent);
  return (
    <>
      <strong>{name}</strong>
      {isThis ? " (this browser)" : ""}
      <br />
      <span class="soft">
        since{" "}
        <time datetime={since}>
          {since.slice(0, 10)} {since.slice(11, 16)} UTC
        </time>
        {session.address === null || session.address === "" ? "" : `, from ${session.address}`}
      </span>
      {isThis ? null : (
        <form method="post" action="/account/end-session">
          <input type="hidden" name="session" value={session.id} />
          <button type="submit" class="plain" aria-label={`End this session: ${name} since ${since.slice(0, 16)}`}>
            End this session
          </button>
        </form>
      )}
    </>
  );
}

/** Enough to tell one's own devices apart; a user agent says what it likes. */
function browserName(userAgent: string | null): string {
  const text = userAgent ?? "";
  const browser = /(Edg|OPR|Firefox|Chrome|Safari)\b/.exec(text)?.[1];
  const system = /(Android|iPhone|iPad|Windows|Mac OS X|Linux)/.exec(text)?.[1];
  const names: Record<string, string> = { Edg: "Edge", OPR: "Opera", "Mac OS X": "macOS" };
  const shown = [browser, system].flatMap((each) => (each === undefined ? [] : [names[each] ?? each]));
  return shown.length === 0 ? "Another program" : shown.join(" on ");
}
