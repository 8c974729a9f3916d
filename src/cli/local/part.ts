/** One supervised process of the local stack: what it is, how one knows that it works, how it ends. */
export interface PartSpec {
  /** Unique; also the name of its log. */
  readonly name: string;
  /** Parts of a higher tier depend on those of lower ones: they stop first. Within a tier all stop at once. */
  readonly tier: number;
  readonly command: string;
  /** No secrets: everybody on the machine can read a command line. */
  readonly args: readonly string[];
  /** Added to the few variables that every part gets. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Another user to run as (Postgres refuses root). */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** Asked again and again until it says true; an exception counts as "not yet". */
  readonly ready: () => Promise<boolean>;
  /** Default SIGTERM. */
  readonly stopSignal?: NodeJS.Signals;
  /** Whether the processes of its group die with it. Not for the node agent: its tenants' services outlive it. */
  readonly groupDiesWithIt: boolean;
  /** Messages of a Node child (process.send). Giving this opens the channel. */
  readonly onMessage?: (message: unknown) => void;
}

export type PartState = "starting" | "running" | "restarting" | "crash-loop" | "stopping" | "stopped";

export interface PartStatus {
  readonly name: string;
  readonly pid: number | null;
  readonly state: PartState;
  readonly restarts: number;
  /** When it came into this state, ISO 8601. */
  readonly since: string;
}
