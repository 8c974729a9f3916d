/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
import type { OpenInvitation } from "./invitations.ts";
import { NewPasswordField } from "./mail-pages.tsx";
import { Page, Problem, SignOutForm } from "./pages.tsx";

export interface InvitationPageProps {
  readonly invitation: OpenInvitation;
  readonly token: string;
  /** Address of the account that is signed in; null for nobody. */
  readonly signedInAs: string | null;
  readonly canSignUp: boolean;
  readonly error: string | null;
}

export function InvitationPage(props: InvitationPageProps) {
  const { invitation, error } = props;
  return (
    <Page title={error === null ? `Join ${invitation.tenantName}` : `Error: join ${invitation.tenantName}`}>
      <h1>Join {invitation.tenantName}</h1>
      <p class="soft">This invitation is for {invitation.email}.</p>
      <Problem text={error} />
      <NextStep {...props} />
    </Page>
  );
}

/** Join, sign in, sign out or sign up: whatever leads on from here. */
function NextStep({ invitation, token, signedInAs, canSignUp, error }: InvitationPageProps) {
  if (signedInAs === invitation.email) {
    return (
      <form method="post" action="/invitation">
        <input type="hidden" name="token" value={token} />
        <button type="submit">Join</button>
      </form>
    );
  }
  if (signedInAs !== null) {
    return (
      <>
        <p>You are signed in as {signedInAs}. Sign out, then open the link in your mail again.</p>
        <SignOutForm />
      </>
    );
  }
  if (invitation.hasAccount) {
    const next = new URLSearchParams({ next: `/invitation?token=${token}` });
    return (
      <a class="button" href={`/sign-in?${next.toString()}`}>
        Sign in to join
      </a>
    );
  }
  if (!canSignUp) return <p>Nobody signs up by themselves here. Ask the operator of the platform for an account.</p>;
  return (
    <form method="post" action="/invitation">
      <input type="hidden" name="token" value={token} />
      <input type="hidden" name="username" value={invitation.email} autocomplete="username" />
      <NewPasswordField hasError={error !== null} />
      <button type="submit">Sign up and join</button>
    </form>
  );
}
