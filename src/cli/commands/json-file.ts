import { readFileSync } from "node:fs";
import { CliError, EXIT } from "../frame/exit.ts";

/** A file with JSON; `-`: stdin. `hint`: where to start from when it can't be read. */
export function readJsonFile(file: string, hint: string): unknown {
  try {
    return JSON.parse(readFileSync(file === "-" ? 0 : file, "utf8"));
  } catch (cause) {
    throw new CliError(EXIT.usage, `${file} can't be read as JSON`, hint, { cause });
  }
}
