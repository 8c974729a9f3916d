import { parseArgs } from "node:util";
import { type ArgsDef, type CommandDef, renderUsage, runCommand } from "citty";
import { CliError, EXIT, type ExitCode } from "./exit.ts";

/** A command of any arguments; citty's own definition is generic in them, and a tree of commands mixes many. */
// oxlint-disable-next-line typescript/no-explicit-any -- citty's SubCommandsDef is CommandDef<any>
export type AnyCommand = CommandDef<any>;

export interface CommandIo {
  /** How people call the program. */
  readonly name: string;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Whether help may have colours. */
  readonly colour: boolean;
}

interface Resolved {
  readonly command: AnyCommand;
  readonly parent: AnyCommand | undefined;
  readonly rest: readonly string[];
  /** What stands before the rest, for messages: `causeway tenant create`. */
  readonly path: string;
  readonly problem: string | null;
}

/**
 * Runs one command line and answers the exit code. Stricter than citty's own runner: an unknown command or flag, a missing value or one
 * positional too many is refused with the command's help (exit 2) before anything runs; failures end in their own exit codes.
 */
export async function runCommandLine(root: AnyCommand, argv: readonly string[], io: CommandIo): Promise<ExitCode> {
  const found = await resolveCommand(root, argv, io.name);
  const help = async () => {
    const text = await renderUsage(found.command, await wholePath(found));
    return `${readable(io.colour ? text : plain(text))}\n`;
  };
  if (found.problem !== null) {
    if (isHelp(found.rest[0] ?? "")) return printed(io.out, await help());
    io.err(`${await help()}\n${found.path}: ${found.problem}\n`);
    return EXIT.usage;
  }
  if (beforeTerminator(found.rest).some(isHelp)) return printed(io.out, await help());
  const args = await resolvable(found.command.args ?? {});
  const misuse = checkArguments(found.rest, args);
  if (misuse !== null) {
    io.err(`${await help()}\n${found.path}: ${misuse}\n`);
    return EXIT.usage;
  }
  try {
    await runCommand(found.command, { rawArgs: [...found.rest] });
    return EXIT.ok;
  } catch (error) {
    if (isCittyError(error)) {
      io.err(`${await help()}\n${found.path}: ${plain(error.message)}\n`);
      return EXIT.usage;
    }
    return reportFailure(error, found.path, io);
  }
}

/** Prints a failure and answers its exit code: ours with its hint, anything else as what it is, a bug or a surprise (exit 1). */
export function reportFailure(error: unknown, path: string, io: CommandIo): ExitCode {
  if (error instanceof CliError) {
    io.err(`${path}: ${error.message}\n${error.hint === null ? "" : `  ${error.hint}\n`}`);
    return error.exitCode;
  }
  io.err(`${path}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return EXIT.failed;
}

async function resolveCommand(root: AnyCommand, argv: readonly string[], name: string): Promise<Resolved> {
  let command = root;
  let parent: AnyCommand | undefined;
  let path = name;
  let rest = [...argv];
  for (;;) {
    const subCommands = await resolvable(command.subCommands);
    if (subCommands === undefined) return { command, parent, rest, path, problem: null };
    const name = rest[0];
    if (name === undefined) return { command, parent, rest, path, problem: "say which command" };
    const next = name.startsWith("-") || !Object.hasOwn(subCommands, name) ? undefined : subCommands[name];
    if (next === undefined) {
      const problem = isHelp(name) ? "" : `unknown ${name.startsWith("-") ? "flag" : "command"} "${name}"`;
      return { command, parent, rest, path, problem };
    }
    parent = command;
    command = await resolvable<AnyCommand>(next);
    path = `${path} ${name}`;
    rest = rest.slice(1);
  }
}

/** A sentence about what is wrong with the flags and positionals, or null. */
export function checkArguments(argv: readonly string[], definitions: ArgsDef): string | null {
  const options: Record<string, { type: "boolean" | "string"; short?: string; multiple: boolean }> = {};
  let positionals = 0;
  for (const [name, definition] of Object.entries(definitions)) {
    if (definition.type === "positional") {
      positionals++;
      continue;
    }
    const type = definition.type === "string" || definition.type === "enum" ? "string" : "boolean";
    options[name] = { type, multiple: true };
    const aliases = "alias" in definition && definition.alias !== undefined ? [definition.alias].flat() : [];
    for (const alias of aliases) {
      if (alias.length === 1) options[name].short = alias;
      else options[alias] = { type, multiple: true };
    }
  }
  try {
    const parsed = parseArgs({ args: [...argv], options, strict: true, allowPositionals: true, allowNegative: true });
    const extra = parsed.positionals[positionals];
    return extra === undefined ? null : `unexpected argument "${extra}"`;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return (message.split(". ")[0] ?? message).replace(/^(Unknown|Option)/, (word) => word.toLowerCase());
  }
}

/** citty names a command by its own and its parent's name: with the path as the parent's, the usage line can be typed as it stands. */
async function wholePath({ parent, path }: Resolved): Promise<AnyCommand | undefined> {
  if (parent === undefined) return undefined;
  const meta = await resolvable(parent.meta);
  return { ...parent, meta: { ...meta, name: path.slice(0, path.lastIndexOf(" ")) } };
}

/** `--out FILE` where citty has `--out=<file>`; its right-aligned column stays aligned. Without its blanks at the end of lines. */
const readable = (help: string): string =>
  help
    .replace(/^( ?)(.*?)=<([^>\n]+)>/gm, (_, margin: string, before: string, hint: string) => {
      const value = hint.includes("|") ? hint : hint.toUpperCase().replaceAll("_", "-");
      return `${margin === "" ? "" : `${margin}  `}${before} ${value}`;
    })
    .replace(/[ \t]+$/gm, "");

const isHelp = (arg: string): boolean => arg === "--help" || arg === "-h";

function beforeTerminator(argv: readonly string[]): readonly string[] {
  const end = argv.indexOf("--");
  return end === -1 ? argv : argv.slice(0, end);
}

function printed(write: (text: string) => void, text: string): ExitCode {
  write(text);
  return EXIT.ok;
}

const isThunk = <T>(value: T | (() => T | Promise<T>)): value is () => T | Promise<T> => typeof value === "function";

async function resolvable<T extends object | undefined>(value: T | Promise<T> | (() => T | Promise<T>)): Promise<T> {
  return isThunk(value) ? await value() : await value;
}

const isCittyError = (error: unknown): error is Error => error instanceof Error && error.name === "CLIError";

// oxlint-disable-next-line no-control-regex -- citty colours parts of its messages; ours go into logs too
const plain = (text: string): string => text.replace(/\u001B\[\d+m/g, "");
