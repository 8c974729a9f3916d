import { defineCommand } from "citty";
import { createOutput } from "../frame/output.ts";
import { newSigningKey, publicHalf } from "../local/secrets.ts";
import { jsonArgs } from "./state.ts";

/** Which secret a key becomes, and where its public half goes. */
const KINDS = {
  proof: { secret: "PROOF_PRIVATE_KEY of the edge", publicAs: "PROOF_PUBLIC_KEYS of relay-control" },
  session: { secret: "SESSION_PRIVATE_KEY of the portal", publicAs: "SESSION_PUBLIC_KEYS of the edge" },
} as const;

/** The private key alone is on stdout, for a pipe into `wrangler secret put`; what else there is to know is talk. */
function keyCommand(kind: keyof typeof KINDS) {
  const { secret, publicAs } = KINDS[kind];
  return defineCommand({
    meta: { name: kind, description: `A new key pair: the private half is ${secret}` },
    args: jsonArgs,
    async run({ args }) {
      const output = createOutput(args.json === true);
      const key = await newSigningKey();
      const publicKeys = { keys: [publicHalf(key)] };
      output.data({ privateKey: key, publicKeys }, JSON.stringify(key));
      output.say(`Standard output has the private key: pipe it into wrangler secret put (${secret}).`);
      output.say(`Public half, for ${publicAs}:\n${JSON.stringify(publicKeys)}`);
    },
  });
}

export default defineCommand({
  meta: { name: "keys", description: "Make the signing keys of a deployment" },
  subCommands: { proof: keyCommand("proof"), session: keyCommand("session") },
});
