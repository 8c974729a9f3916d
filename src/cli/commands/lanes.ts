import { defineCommand } from "citty";
import { z } from "zod";
import { drainLane } from "../api/drain-lane.ts";
import { operation } from "../api/types.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { commonArgs, connectApi, settle, waitArgs } from "./api.ts";

const drain = defineCommand({
  meta: {
    name: "drain",
    description:
      "Empty one side of the platform's relay before it is redeployed; visitors and connectors use the other",
  },
  args: {
    lane: { type: "positional", required: true, description: "a or b" },
    grace: {
      type: "string",
      default: "60",
      description: "Open requests and WebSockets have so long, in seconds; then they are cut",
      valueHint: "SECONDS",
    },
    ...waitArgs,
    ...commonArgs,
  },
  async run({ args }) {
    const lane = z.enum(["a", "b"]).safeParse(args.lane);
    if (!lane.success) throw new CliError(EXIT.usage, `"${args.lane}" is no lane`, "There are a and b.");
    const graceSeconds = z.coerce.number().int().min(1).max(3600).safeParse(args.grace);
    if (!graceSeconds.success) throw new CliError(EXIT.usage, "--grace is a number of seconds from 1 to 3600");
    const { api, output } = connectApi(args);
    if (args.wait === true) {
      const ended = await drainLane(api, output, lane.data, graceSeconds.data);
      return output.data(
        ended,
        `Lane ${lane.data} is drained. Deploy it within five minutes: it takes nothing until then.`,
      );
    }
    const started = await api.post(
      `/relay/lanes/${lane.data}/drain`,
      { graceSeconds: graceSeconds.data },
      z.object({ operation }),
    );
    const shown = await settle(api, output, started.operation, false);
    output.data(shown, `Lane ${lane.data} is being drained.`);
  },
});

export default defineCommand({
  meta: { name: "lanes", description: "The two sides of the platform's relay" },
  subCommands: { drain },
});
