/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
import type { PortalSession } from "./accounts.ts";
import type { AskingTenant } from "./consents.ts";
import { Page } from "./pages.tsx";

/** Asks before a tenant learns who somebody is. `next`: path of this portal that goes on with the sign-in. */
export function ConsentPage(props: {
  readonly session: PortalSession;
  readonly tenant: AskingTenant;
  readonly next: string;
}) {
  const { session, tenant, next } = props;
  return (
    <Page title={`Let ${tenant.name} know you?`}>
      <h1>Let {tenant.name} know you?</h1>
      <p class="soft">
        You come from <code>{tenant.host}</code>, a page of the tenant {tenant.name}. It wants to know who you are, and
        you are no member of it.
      </p>
      <h2 id="learns">What it will learn, with each page that you open there</h2>
      <ul aria-labelledby="learns">
        <li>
          your e-mail address: <strong>{session.email}</strong>
        </li>
        <li>the id of your account, always the same one</li>
      </ul>
      <p class="soft">
        Not your password, and not which other tenants you use. You can take it back on your account page.
      </p>
      <form method="post" action="/consent">
        <input type="hidden" name="account" value={session.accountId} />
        <input type="hidden" name="tenant" value={tenant.tenantId} />
        <input type="hidden" name="next" value={next} />
        <button type="submit" name="answer" value="allow">
          Allow
        </button>
        <button type="submit" name="answer" value="not-now" class="plain">
          Not now
        </button>
      </form>
    </Page>
  );
}

/** `url`: the tenant's start page, which may want a sign-in again. */
export function NotAllowedPage(props: { readonly tenant: AskingTenant; readonly next: string; readonly url: string }) {
  const { tenant, next, url } = props;
  return (
    <Page title="Not signed in there">
      <h1>{tenant.name} does not know you</h1>
      <p class="soft">
        You are not signed in at <code>{tenant.host}</code>, and it learnt nothing of you. Its pages that are open to
        everybody work all the same.
      </p>
      <a class="button" href={next}>
        Start again
      </a>
      <a class="button plain" href={url}>
        Back to {tenant.name}
      </a>
      <p>
        <a href="/">Your tenants</a>
      </p>
    </Page>
  );
}
