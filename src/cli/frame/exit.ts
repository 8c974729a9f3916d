/** Exit codes of the `causeway` command (docs/operations.md). Scripts rely on them. */
export const EXIT = {
  ok: 0,
  /** It was tried and did not work. */
  failed: 1,
  /** Unknown command or flag, bad value, bad or missing configuration. */
  usage: 2,
  /** A safety check said no; nothing was changed. */
  refused: 3,
  /** The machine lacks something: a free port, a program, the network. */
  environment: 4,
  /** Not signed in, or not allowed. */
  authentication: 5,
  interrupted: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/**
 * An expected failure of a command on its way to the boundary (main.ts), which prints it and exits with its code.
 * `hint` says what to do next. Neither may hold a secret.
 */
export class CliError extends Error {
  readonly exitCode: ExitCode;
  readonly hint: string | null;

  constructor(exitCode: ExitCode, message: string, hint: string | null = null, options?: ErrorOptions) {
    super(message, options);
    this.name = "CliError";
    this.exitCode = exitCode;
    this.hint = hint;
  }
}
