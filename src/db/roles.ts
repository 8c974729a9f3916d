import type { TransactionSql } from "postgres";
import { quoteIdentifier, quoteLiteral } from "./identifiers.ts";
import { scramIterations, scramVerifier } from "./scram.ts";
import { systemRandom } from "./secrets.ts";

/** Our three logins to the control database. None owns anything; `causeway migrate` does, under the role that it is run with. */
export const SERVICE_ROLES = ["causeway_console", "causeway_provisioner", "causeway_portal"] as const;
export type ServiceRole = (typeof SERVICE_ROLES)[number];
export type RolePasswords = Readonly<Record<ServiceRole, string>>;

/** Makes the login if it is missing and sets its password. ASCII passwords only. */
export async function ensureRole(tx: TransactionSql, name: string, password: string): Promise<void> {
  const verifier = quoteLiteral(await scramVerifier(password, systemRandom(16), await scramIterations(tx)));
  const role = quoteIdentifier(name);
  const [existing] = await tx`select 1 from pg_roles where rolname = ${name}`;
  await tx.unsafe(`${existing === undefined ? "create" : "alter"} role ${role} login password ${verifier}`);
}

/**
 * Least privilege in the control database, set anew after every migration:
 * the portal sees its accounts only; the console everything of control but tenants' credentials; the provisioner everything of control but
 * tokens, and nothing of the accounts.
 */
export async function grantControl(tx: TransactionSql): Promise<void> {
  const [database] = await tx<{ name: string }[]>`select quote_ident(current_database()) as name`;
  const all = SERVICE_ROLES.join(", ");
  const rights = "select, insert, update, delete";
  await tx.unsafe(`
    grant connect on database ${database?.name ?? ""} to ${all};
    revoke all on schema control, portal from public, ${all};
    revoke all on all tables in schema control, portal from public, ${all};
    revoke all on all sequences in schema control, portal from public, ${all};
    grant usage on schema control to causeway_console, causeway_provisioner;
    grant ${rights} on all tables in schema control to causeway_console, causeway_provisioner;
    grant usage on all sequences in schema control to causeway_console, causeway_provisioner;
    revoke all on control.credentials from causeway_console;
    revoke update, delete on control.audit_events from causeway_console, causeway_provisioner;
    revoke all on control.api_tokens from causeway_provisioner;
    grant usage on schema portal to causeway_portal;
    grant ${rights} on all tables in schema portal to causeway_portal;
    grant usage on all sequences in schema portal to causeway_portal;
  `);
}
