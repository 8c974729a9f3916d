import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { err, ok, type Result } from "../shared/result.ts";
import { placedWords, inputWords } from "../shared/input-words.ts";
import type { ConnectorInput } from "./config.ts";

/** A number may be written as one; it is checked like the flag's text. */
const text = z.union([z.string(), z.number()]).transform(String);

const configFile = z.strictObject({
  relay: z.string().optional(),
  tenant: z.string().optional(),
  connector: z.string().optional(),
  credentials: z.string().optional(),
  secretFile: z.string().optional(),
  tokenFile: z.string().optional(),
  issuer: z.string().optional(),
  clientId: z.string().optional(),
  audience: z.string().optional(),
  scope: z.string().optional(),
  stateDir: z.string().optional(),
  pushedTargets: z.boolean().optional(),
  instance: text.optional(),
  lanes: z.enum(["a", "b", "both"]).optional(),
  originClient: z.enum(["llhttp", "undici"]).optional(),
  ca: z.string().optional(),
  healthPort: text.optional(),
  drainTimeout: text.optional(),
  reconnectMax: text.optional(),
  allowPlainHttp: z.boolean().optional(),
  /** Read by targets/target-settings.ts. */
  targets: z.record(z.string(), z.unknown()).optional(),
});

/**
 * The YAML file of `causeway connect --config` (docs/connector.md), as if it had been typed as flags. Paths in it are relative to its
 * folder. An unknown name is an error: a misspelt setting would be one that silently does nothing.
 */
export function readConfigFile(path: string): Result<ConnectorInput, string> {
  let source: string;
  try {
    source = readFileSync(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
    return err(`the configuration file ${path} can't be read (${code})`);
  }
  const parsed = parseConfigFile(source, dirname(resolve(path)));
  return parsed.ok ? parsed : err(`the configuration file ${path} is not valid: ${parsed.error}`);
}

/** Errors name settings, never their values. */
export function parseConfigFile(source: string, folder: string): Result<ConnectorInput, string> {
  let document: unknown;
  try {
    document = parse(source) ?? {};
  } catch (error) {
    const [first] = (error instanceof Error ? error.message : String(error)).split("\n");
    return err(`it is not YAML: ${(first ?? "").replace(/:$/, "")}`);
  }
  const checked = configFile.safeParse(document, { error: inputWords });
  if (!checked.success) {
    return err([...new Set(checked.error.issues.map((issue) => placedWords(issue)))].join("; "));
  }
  const { relay, targets = {}, allowPlainHttp = false, ...rest } = checked.data;
  const at = (path: string | undefined): string | undefined => (path === undefined ? undefined : resolve(folder, path));
  return ok({
    ...rest,
    url: relay,
    credentials: at(rest.credentials),
    secretFile: at(rest.secretFile),
    tokenFile: at(rest.tokenFile),
    stateDir: at(rest.stateDir),
    ca: at(rest.ca),
    allowPlainHttp,
    targets: Object.entries(targets).map(([name, settings]) => ({ name, settings, folder })),
  });
}
