/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
import type { InvitationView, MemberView, RoleName } from "../protocol/portal-rpc.ts";
import type { OwnTenant } from "./own-tenants.ts";
import { Page, Problem } from "./pages.tsx";
import { mayManage, rolesBelow } from "./tenant-members.ts";
import { STATE_TEXTS } from "./tenant-states.ts";

export interface NewTenantPageProps {
  /** What follows the name in its address, such as `.causeway.example`. */
  readonly domain: string;
  readonly slug: string;
  readonly error: string | null;
  /** Why there is no form; null: there is one. */
  readonly closed: string | null;
}

export function NewTenantPage({ domain, slug, error, closed }: NewTenantPageProps) {
  return (
    <Page title={error === null ? "New tenant" : "Error: new tenant"}>
      <h1>New tenant</h1>
      {closed === null ? (
        <>
          <p class="soft">A place of its own for your team, at an address of its own. You will be its owner.</p>
          <Problem text={error} />
          <form method="post" action="/tenants/new">
            <label for="slug">Name</label>
            <input
              id="slug"
              name="slug"
              value={slug}
              autocomplete="off"
              autocapitalize="none"
              spellcheck={false}
              minlength={3}
              maxlength={40}
              required
              autofocus
              aria-describedby={error === null ? "slug-rule" : "problem slug-rule"}
            />
            <p class="soft" id="slug-rule">
              Its address will be <code>name{domain}</code>. Small letters, digits and hyphens, beginning with a letter.
            </p>
            <button type="submit">Create it</button>
          </form>
        </>
      ) : (
        <p>{closed}</p>
      )}
      <p>
        <a href="/">Your tenants</a>
      </p>
    </Page>
  );
}

export interface TenantPageProps {
  readonly tenant: OwnTenant;
  /** Where it is; null while that is not known. */
  readonly url: string | null;
}

/** A tenant at a glance, for its members. */
export function TenantPage({ tenant, url }: TenantPageProps) {
  const state = tenant.status?.state ?? "active";
  return (
    <Page title={tenant.name}>
      <h1>{tenant.name}</h1>
      <dl class="facts">
        <dt>State</dt>
        <dd>{STATE_TEXTS[state]}</dd>
        <dt>Your role</dt>
        <dd>{tenant.role}</dd>
      </dl>
      {state === "failed" ? (
        <p>Setting it up failed. The operator of the platform can see why, and try again.</p>
      ) : null}
      {url === null || state !== "active" ? null : (
        <a class="button" href={url}>
          Open {tenant.name}
        </a>
      )}
      {mayManage(tenant.role) ? (
        <a class="button plain" href={`/tenants/${tenant.tenantId}/members`}>
          Members
        </a>
      ) : null}
      {tenant.role === "owner" ? (
        <a class="button plain" href={`/tenants/${tenant.tenantId}/sign-in`}>
          Sign-in
        </a>
      ) : null}
      <p>
        <a href="/">Your tenants</a>
      </p>
    </Page>
  );
}

export interface MembersPageProps {
  readonly tenant: OwnTenant;
  readonly accountId: string;
  readonly members: readonly MemberView[];
  readonly invitations: readonly InvitationView[];
  readonly nowMs: number;
  /** What was typed into the form. */
  readonly email: string;
  readonly error: string | null;
  readonly notice: string | null;
}

export function MembersPage(props: MembersPageProps) {
  const { tenant, accountId, members, invitations, nowMs, email, error, notice } = props;
  const roles = rolesBelow(tenant.role);
  const action = (name: string) => `/tenants/${tenant.tenantId}/members/${name}`;
  return (
    <Page title={`${error === null ? "" : "Error: "}Members of ${tenant.name}`} wide>
      <h1>Members of {tenant.name}</h1>
      {notice === null ? null : (
        <p class="notice" role="status">
          {notice}
        </p>
      )}
      <Problem text={error} />
      <h2 id="members">Members</h2>
      <ul class="rows" aria-labelledby="members">
        {members.map((each) => (
          <li>
            <MemberRow {...{ each, accountId, roles, action }} />
          </li>
        ))}
      </ul>
      {invitations.length === 0 ? null : (
        <>
          <h2 id="invitations">Invited</h2>
          <ul class="rows" aria-labelledby="invitations">
            {invitations.map((each) => (
              <li>
                <InvitationRow {...{ each, nowMs, action }} />
              </li>
            ))}
          </ul>
        </>
      )}
      <h2>Invite somebody</h2>
      <form method="post" action={action("invite")}>
        <label for="email">E-mail</label>
        <input
          id="email"
          name="email"
          type="email"
          value={email}
          autocomplete="off"
          autocapitalize="none"
          spellcheck={false}
          maxlength={254}
          required
          {...(error === null ? {} : { "aria-describedby": "problem" })}
        />
        <label for="role">Role</label>
        <RoleSelect id="role" roles={roles} selected="member" />
        <p class="soft">
          Owners manage everything, admins all but owners, members use the tenant, viewers look at it only.
        </p>
        <button type="submit">Send the invitation</button>
      </form>
      <p>
        <a href={`/tenants/${tenant.tenantId}`}>Back to {tenant.name}</a>
      </p>
    </Page>
  );
}

function RoleSelect(props: {
  readonly id: string;
  readonly roles: readonly RoleName[];
  readonly selected: string;
  readonly label?: string;
}) {
  return (
    <select id={props.id} name="role" {...(props.label === undefined ? {} : { "aria-label": props.label })}>
      {props.roles.map((role) => (
        <option value={role} selected={role === props.selected}>
          {role}
        </option>
      ))}
    </select>
  );
}

function MemberRow(props: {
  readonly each: MemberView;
  readonly accountId: string;
  readonly roles: readonly RoleName[];
  readonly action: (name: string) => string;
}) {
  const { each, accountId, roles, action } = props;
  const isSelf = each.accountId === accountId;
  const mayChange = roles.some((role) => role === each.role);
  return (
    <>
      <strong>{each.email}</strong>
      {isSelf ? " (you)" : ""}
      {mayChange ? null : (
        <>
          <br />
          <span class="soft">{each.role}</span>
        </>
      )}
      <div class="actions">
        {mayChange ? (
          <form method="post" action={action("role")}>
            <input type="hidden" name="account" value={each.accountId} />
            <RoleSelect
              id={`role-${each.accountId}`}
              roles={roles}
              selected={each.role}
              label={`Role of ${each.email}`}
            />
            <button type="submit" class="plain" aria-label={`Change the role of ${each.email}`}>
              Change
            </button>
          </form>
        ) : null}
        {mayChange || isSelf ? (
          <form method="post" action={action("remove")}>
            <input type="hidden" name="account" value={each.accountId} />
            <button type="submit" class="plain bad" aria-label={isSelf ? "Leave" : `Remove ${each.email}`}>
              {isSelf ? "Leave" : "Remove"}
            </button>
          </form>
        ) : null}
      </div>
    </>
  );
}

function InvitationRow(props: {
  readonly each: InvitationView;
  readonly nowMs: number;
  readonly action: (name: string) => string;
}) {
  const { each, nowMs, action } = props;
  const until = new Date(each.expiresAtMs).toISOString();
  return (
    <>
      <strong>{each.email}</strong>
      <br />
      <span class="soft">
        {each.role}, {each.expiresAtMs <= nowMs ? "ran out" : "open until"}{" "}
        <time datetime={until}>{until.slice(0, 10)}</time>
      </span>
      <div class="actions">
        <form method="post" action={action("resend")}>
          <input type="hidden" name="invitation" value={each.invitationId} />
          <button type="submit" class="plain" aria-label={`Send again: the invitation of ${each.email}`}>
            Send again
          </button>
        </form>
        <form method="post" action={action("revoke")}>
          <input type="hidden" name="invitation" value={each.invitationId} />
          <button type="submit" class="plain bad" aria-label={`Take back the invitation of ${each.email}`}>
            Take back
          </button>
        </form>
      </div>
    </>
  );
}

export function LeftPage({ name }: { readonly name: string }) {
  return (
    <Page title={`You left ${name}`}>
      <h1>You left {name}</h1>
      <p class="soft">Your sessions on its pages were ended.</p>
      <a class="button" href="/">
        Your tenants
      </a>
    </Page>
  );
}
