/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
import type { OwnTenant } from "../own-tenants.ts";
import { Page, Problem } from "../pages.tsx";
import type { TenantProvider } from "./tenant-provider.ts";

export function ProviderPage(props: {
  readonly tenant: OwnTenant;
  readonly provider: TenantProvider | null;
  readonly redirectUri: string;
  readonly error: string | null;
  readonly notice: string | null;
}) {
  const { tenant, provider, redirectUri, error, notice } = props;
  const action = `/tenants/${tenant.tenantId}/sign-in`;
  return (
    <Page title={`${error === null ? "" : "Error: "}Sign-in to ${tenant.name}`}>
      <h1>Sign-in to {tenant.name}</h1>
      <p class="soft">
        With an OpenID provider of your own, members prove themselves there too before they get to {tenant.name}. It
        must have verified the same address that their account here has.
      </p>
      {notice === null ? null : (
        <p class="notice" role="status">
          {notice}
        </p>
      )}
      <Problem text={error} />
      <form method="post" action={action}>
        <label for="name">Name, for your members</label>
        <input id="name" name="name" value={provider?.name ?? ""} maxlength={40} required />
        <label for="issuer">Issuer</label>
        <input id="issuer" name="issuer" type="url" value={provider?.issuer ?? ""} maxlength={500} required />
        <label for="client-id">Client id</label>
        <input
          id="client-id"
          name="clientId"
          value={provider?.clientId ?? ""}
          autocomplete="off"
          maxlength={200}
          required
        />
        <label for="client-secret">Client secret</label>
        <input
          id="client-secret"
          name="clientSecret"
          type="password"
          autocomplete="off"
          maxlength={500}
          required
          aria-describedby="redirect"
        />
        <p class="soft" id="redirect">
          The client's redirect address: <code>{redirectUri}</code>
        </p>
        <button type="submit">{provider === null ? "Require it" : "Change it"}</button>
      </form>
      {provider === null ? null : (
        <form method="post" action={`${action}/remove`}>
          <button type="submit" class="plain bad">
            Require it no longer
          </button>
        </form>
      )}
      <p>
        <a href={`/tenants/${tenant.tenantId}`}>Back to {tenant.name}</a>
      </p>
    </Page>
  );
}

export function NotProvenPage({ email }: { readonly email: string }) {
  return (
    <Page title="Not proven">
      <h1>The tenant's provider did not vouch for you</h1>
      <p class="soft">
        This tenant wants its members to prove themselves at its own provider, as {email}. That did not work. Open the
        tenant's page to try again, or ask one of its owners.
      </p>
      <a class="button" href="/">
        Your tenants
      </a>
    </Page>
  );
}
