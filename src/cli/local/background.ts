import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import process, { execPath } from "node:process";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { CliError, EXIT } from "../frame/exit.ts";
import { readJson } from "./files.ts";
import type { UpOptions } from "./foreground.ts";
import { type LocalStack, localStack } from "./local-json.ts";
import { logPath } from "./log-files.ts";
import { keepPrivate } from "./private-folder.ts";
import { type StepEvent, STEPS, createProgress } from "./progress.ts";

const message = z.discriminatedUnion("type", [
  z.object({ type: z.literal("step"), event: z.custom<StepEvent>((value) => isStepEvent(value)) }),
  z.object({ type: z.literal("ready") }),
  z.object({
    type: z.literal("failed"),
    exitCode: z.union([z.literal(1), z.literal(2), z.literal(3), z.literal(4), z.literal(5)]),
    message: z.string(),
    hint: z.string().nullable(),
  }),
]);

const isStepEvent = (value: unknown): boolean =>
  typeof value === "object" &&
  value !== null &&
  "step" in value &&
  typeof value.step === "string" &&
  value.step in STEPS;

/** Starts a supervisor of its own in the background, shows its progress here, and returns when the stack is ready. */
export async function startInBackground(options: UpOptions, onReady: (stack: LocalStack) => void): Promise<void> {
  const { paths, output } = options;
  keepPrivate(paths);
  const log = openSync(logPath(paths.logs, "supervisor"), "a", 0o600);
  const main = fileURLToPath(new URL("../main.ts", import.meta.url));
  const flags = [
    "up",
    "--port",
    String(options.edgePort),
    "--state-dir",
    paths.dir,
    ...(options.fresh ? ["--fresh"] : []),
    "--upstream",
    options.upstream,
  ];
  const child = spawn(execPath, [main, ...flags], {
    detached: true,
    stdio: ["ignore", log, log, "ipc"],
    env: { ...process.env, CAUSEWAY_BACKGROUND: "1" },
  });
  closeSync(log);
  const progress = createProgress(output, options.upstream);
  const forward = (): void => void child.kill("SIGTERM");
  process.on("SIGINT", forward);
  process.on("SIGTERM", forward);
  let interruptedBy = false;
  process.once("SIGINT", () => (interruptedBy = true));
  try {
    await new Promise<void>((resolve, reject) => {
      child.on("message", (raw) => {
        const parsed = message.safeParse(raw);
        if (!parsed.success) return;
        if (parsed.data.type === "step") progress.report(parsed.data.event);
        if (parsed.data.type === "ready") resolve();
        if (parsed.data.type === "failed") {
          reject(new CliError(parsed.data.exitCode, parsed.data.message, parsed.data.hint));
        }
      });
      child.once("error", (cause) => reject(new CliError(EXIT.environment, cause.message, null, { cause })));
      child.once("exit", (code) => {
        reject(
          interruptedBy
            ? new CliError(EXIT.interrupted, "interrupted; everything is down")
            : new CliError(
                EXIT.failed,
                `the supervisor ended (exit code ${code ?? "none"})`,
                "Its log: npx causeway logs supervisor",
              ),
        );
      });
    });
  } finally {
    process.off("SIGINT", forward);
    process.off("SIGTERM", forward);
    await progress.end();
    if (child.connected) child.disconnect();
    child.unref();
  }
  const stack = readJson(paths.localJson, localStack);
  if (stack === null)
    throw new CliError(EXIT.failed, "the stack ended right after its start", "Its log: npx causeway logs supervisor");
  onReady(stack);
}
