/** A run that can't go on, with the exit code of its class (docs/performance.md). The message is for people and says what to do. */
export class BenchError extends Error {
  readonly exitCode: 1 | 2 | 4;

  constructor(exitCode: 1 | 2 | 4, message: string) {
    super(message);
    this.name = "BenchError";
    this.exitCode = exitCode;
  }
}
