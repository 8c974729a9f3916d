/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
import { LIMITS } from "./limits.ts";
import { Page, Problem } from "./pages.tsx";

/** A form that asks for an address to send a mail to. */
export function AskForMailPage(props: {
  readonly title: string;
  readonly lead: string;
  readonly action: string;
  readonly button: string;
  readonly email: string;
  readonly error: string | null;
}) {
  const { title, lead, action, button, email, error } = props;
  return (
    <Page title={error === null ? title : `Error: ${title}`}>
      <h1>{title}</h1>
      <p class="soft">{lead}</p>
      <Problem text={error} />
      <form method="post" action={action}>
        <label for="email">E-mail</label>
        <input
          id="email"
          name="email"
          type="email"
          value={email}
          autocomplete="email"
          autocapitalize="none"
          spellcheck={false}
          maxlength={254}
          required
          autofocus
          {...(error === null ? {} : { "aria-describedby": "problem" })}
        />
        <button type="submit">{button}</button>
      </form>
      <p class="soft">
        <a href="/sign-in">Back to sign in</a>
      </p>
    </Page>
  );
}

/** The same whether there is such an account or not. */
export function MailSentPage() {
  return (
    <Page title="Look into your mail">
      <h1>Look into your mail</h1>
      <p class="soft">
        If we can do what you asked for this address, a mail with a link is on its way. The link works once, for 30
        minutes. Look into the folder for unwanted mail too.
      </p>
      <a class="button" href="/sign-in">
        Back to sign in
      </a>
    </Page>
  );
}

/** A form for a new password. `email` is shown and goes along for password managers only. */
export function NewPasswordPage(props: {
  readonly title: string;
  readonly action: string;
  readonly token: string;
  readonly email: string;
  readonly error: string | null;
}) {
  const { title, action, token, email, error } = props;
  return (
    <Page title={error === null ? title : `Error: ${title}`}>
      <h1>{title}</h1>
      <p class="soft">for {email}</p>
      <Problem text={error} />
      <form method="post" action={action}>
        <input type="hidden" name="token" value={token} />
        <input type="hidden" name="username" value={email} autocomplete="username" />
        <NewPasswordField hasError={error !== null} />
        <button type="submit">Save the password</button>
      </form>
    </Page>
  );
}

export function NewPasswordField({ hasError }: { readonly hasError: boolean }) {
  return (
    <>
      <label for="new-password">New password</label>
      <input
        id="new-password"
        name="password"
        type="password"
        autocomplete="new-password"
        minlength={LIMITS.newPasswordMinLength}
        maxlength={LIMITS.passwordMaxLength}
        required
        aria-describedby={hasError ? "problem rule" : "rule"}
      />
      <p class="soft" id="rule">
        At least {LIMITS.newPasswordMinLength} characters. Several words make a good one.
      </p>
    </>
  );
}

/** One thing to confirm by a button: mail programs open links, only people press buttons. */
export function ConfirmPage(props: {
  readonly title: string;
  readonly lead: string;
  readonly action: string;
  readonly token: string;
  readonly button: string;
}) {
  return (
    <Page title={props.title}>
      <h1>{props.title}</h1>
      <p class="soft">{props.lead}</p>
      <form method="post" action={props.action}>
        <input type="hidden" name="token" value={props.token} />
        <button type="submit">{props.button}</button>
      </form>
    </Page>
  );
}

export function LinkGonePage({ again }: { readonly again: string | null }) {
  return (
    <Page title="This link does not work any more">
      <h1>This link does not work any more</h1>
      <p class="soft">It was used already, it is too old, or a newer one was sent.</p>
      {again === null ? (
        <p>Ask whoever sent it for another one.</p>
      ) : (
        <a class="button" href={again}>
          Ask for another one
        </a>
      )}
    </Page>
  );
}

/** Something was done; where to go from here. */
export function DonePage(props: {
  readonly title: string;
  readonly text: string;
  readonly href: string;
  readonly button: string;
}) {
  return (
    <Page title={props.title}>
      <h1>{props.title}</h1>
      <p class="soft">{props.text}</p>
      <a class="button" href={props.href}>
        {props.button}
      </a>
    </Page>
  );
}
