import { defineCommand } from "citty";
import {
  diagnose,
  loadConfig,
  parseRelayUrl,
  parseTargets,
  readCa,
  readConfigFile,
  withDefaults,
  withEnvironment,
  type ConnectorInput,
  type DoctorOptions,
  type Finding,
} from "../../connector/main.ts";
import type { Result } from "../../shared/result.ts";
import { CliError, EXIT, type ExitCode } from "../frame/exit.ts";
import { createOutput } from "../frame/output.ts";
import { credentialArgs, credentialInput } from "./connector-credentials.ts";
import { repeated } from "../frame/repeated.ts";

/** `causeway doctor`: why a site's connector can't reach the relay or its targets, and what to do. Changes nothing. */
export default defineCommand({
  meta: { name: "doctor", description: "Check a site: the way to the relay, the credentials, and each target" },
  args: {
    config: { type: "string", description: "YAML file of causeway connect", valueHint: "FILE" },
    credentials: { type: "string", description: "File from `causeway connector create`", valueHint: "FILE" },
    target: {
      type: "string",
      description: "NAME=URL of a target to look at; repeat it for more",
      valueHint: "NAME=URL",
    },
    url: { type: "string", description: "Address of the relay (default: the one in the credentials file)" },
    tenant: { type: "string", description: "Tenant (default: from the credentials file)" },
    connector: { type: "string", description: "Name of the connector (default: from the credentials file)" },
    ...credentialArgs,
    ca: { type: "string", description: "PEM file of certificates to trust as well" },
    "allow-plain-http": { type: "boolean", default: false, description: "Allow an http relay on another machine" },
    json: { type: "boolean", default: false, description: "One JSON object a line" },
  },
  async run({ args, rawArgs }) {
    const output = createOutput(args.json);
    const typed = withEnvironment(
      {
        credentials: args.credentials,
        url: args.url,
        tenant: args.tenant,
        connector: args.connector,
        ...credentialInput(args),
        ca: args.ca,
        targets: repeated(rawArgs, "target"),
        allowPlainHttp: args["allow-plain-http"],
      },
      process.env,
    );
    const file = args.config ?? process.env["CAUSEWAY_CONFIG"];
    const options = optionsFrom(file === undefined ? typed : withDefaults(typed, value(readConfigFile(file))));
    const findings: Finding[] = [];
    for await (const finding of diagnose(options)) {
      findings.push(finding);
      const { check, subject, result, detail, remedy } = finding;
      const line = `${result.padEnd(7)}  ${check.padEnd(11)}  ${subject}: ${detail}`;
      output.data(finding, remedy === null ? line : `${line}\n         ${" ".repeat(11)}  ${remedy}`);
    }
    const failures = findings.filter(({ result }) => result === "failed");
    if (failures.length === 0) return;
    const names = [...new Set(failures.map(({ check }) => check))].join(", ");
    throw new CliError(codeOf(failures), `not everything works: ${names}`);
  },
});

function optionsFrom(input: ConnectorInput): DoctorOptions {
  const common = { proxyEnv: process.env, now: Date.now };
  const named = [input.credentials, input.secretFile, input.tokenFile, input.issuer];
  if (named.every((text) => text === undefined)) {
    if (input.url === undefined) {
      throw new CliError(EXIT.usage, "say what to check: --credentials FILE, --config FILE, or --url URL");
    }
    const relayUrl = value(parseRelayUrl(input.url, input.allowPlainHttp));
    const ca = input.ca === undefined ? null : value(readCa(input.ca));
    const targets = input.targets.length === 0 ? [] : value(parseTargets(input.targets));
    return { ...common, relayUrl, ca, identity: null, targets };
  }
  // An instance id of its own, so that none is made and kept; without targets only the way to the relay is looked at.
  const targets = input.targets.length > 0 ? input.targets : ["ping"];
  const { config } = value(loadConfig({ ...input, targets, instance: "doctor" }, process.env));
  return { ...common, relayUrl: config.relayUrl, ca: config.ca, identity: config, targets: config.targets };
}

function value<T>(result: Result<T, string>): T {
  if (!result.ok) throw new CliError(EXIT.usage, result.error);
  return result.value;
}

/** The credential first, then the network, then targets. */
function codeOf(failures: readonly Finding[]): ExitCode {
  if (failures.some(({ check }) => check === "credentials")) return EXIT.authentication;
  return failures.some(({ check }) => check !== "target") ? EXIT.environment : EXIT.failed;
}
