/**
 * Makes one kind of load in a process of its own, so that the bench's own work disturbs nothing: the job is one line of JSON on standard
 * input, the outcome one on standard output.
 */
import { createInterface } from "node:readline";
import { transfer } from "./bulk.ts";
import { followEvents } from "./events.ts";
import { job } from "./jobs.ts";
import { stall } from "./stall.ts";
import { echoMessages } from "./websocket.ts";

const lines = createInterface({ input: process.stdin });
const ended = new Promise<void>((resolve) => lines.once("close", resolve));
const first = await new Promise<string>((resolve) => lines.once("line", resolve));
const wanted = job.parse(JSON.parse(first));
const say = (outcome: unknown): void => void process.stdout.write(`${JSON.stringify(outcome)}\n`);

switch (wanted.kind) {
  case "download":
  case "upload":
    say(await transfer(wanted));
    break;
  case "websocket":
    say(await echoMessages(wanted));
    break;
  case "events":
    say(await followEvents(wanted));
    break;
  case "stall":
    say(await stall(wanted));
    await ended;
}
process.exit(0);
