/** What an installed connector runs: from the command line of `causeway service install`. Paths are absolute. */
export interface ServiceSpec {
  /** Of the unit, the launchd job, the Windows service. */
  readonly name: string;
  /** The program and what comes before its own arguments: the executable alone, or Node and a script. */
  readonly program: readonly string[];
  /** Of `connect`, without the credentials: no secrets, only names of files. */
  readonly args: readonly string[];
  /** The file with the key or secret, and the flag that names it. */
  readonly credential: { readonly flag: "--credentials" | "--secret-file"; readonly file: string } | null;
  /** Runs as this user; null: one that the system makes for it (systemd), or the platform's usual one. */
  readonly user: string | null;
}

/** A file to write, and commands to run after it (or before it goes). */
export interface ServicePlan {
  readonly path: string;
  readonly mode: number;
  readonly content: string;
  readonly install: readonly (readonly string[])[];
  readonly uninstall: readonly (readonly string[])[];
  /** After the file is gone. */
  readonly afterRemoval: readonly (readonly string[])[];
  readonly status: readonly string[];
}
