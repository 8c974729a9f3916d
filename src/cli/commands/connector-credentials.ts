import type { ConnectorInput } from "../../connector/main.ts";

/** Flags that `connect` and `doctor` share: how a connector proves who it is, beside the credentials file. Secrets come from files only. */
export const credentialArgs = {
  "secret-file": { type: "string", description: "File that holds a client secret", valueHint: "FILE" },
  "token-file": {
    type: "string",
    description: "File that holds a token of an outside issuer; something else renews it",
    valueHint: "FILE",
  },
  issuer: {
    type: "string",
    description: "Outside OpenID issuer that gives the tokens; with --client-id and --secret-file or a key",
    valueHint: "URL",
  },
  "client-id": { type: "string", description: "Client at the issuer", valueHint: "ID" },
  audience: { type: "string", description: "Audience that the issuer is asked for" },
  scope: { type: "string", description: "Scope that the issuer is asked for" },
} as const;

type Given = Readonly<Partial<Record<keyof typeof credentialArgs, string | undefined>>>;

export const credentialInput = (
  args: Given,
): Pick<ConnectorInput, "secretFile" | "tokenFile" | "issuer" | "clientId" | "audience" | "scope"> => ({
  secretFile: args["secret-file"],
  tokenFile: args["token-file"],
  issuer: args.issuer,
  clientId: args["client-id"],
  audience: args.audience,
  scope: args.scope,
});
