/** A process whose CPU is counted while a path is measured. `name` is the table's column. */
export interface CountedProcess {
  readonly name: string;
  readonly pid: number;
}

/** One way for a request to take: something of ours, or a yardstick beside it. */
export interface Path {
  /** Short and stable: results of different days are compared by it. */
  readonly key: string;
  /** What it is, for people: the hops, with arrows. */
  readonly title: string;
  readonly kind: "subject" | "yardstick";
  readonly url: string;
  /** Sent with every request of a slot, asked for at its start; `host` is the authority. */
  readonly headers: () => Promise<Readonly<Record<string, string>>>;
  /** Read anew for each slot: a process that was killed and started again has another id. */
  readonly processes: readonly CountedProcess[];
  /** The origin's own address. */
  readonly originUrl: string;
  /** What bulk is held to while small requests are measured beside it. */
  readonly bulkPaceBytesPerSecond: number;
  /** Its two ends, where they can be killed. */
  readonly parts?: { readonly server: Part; readonly client: Part };
}

/** A process that can be killed and started again with the same arguments, as a supervisor would. */
export interface Part {
  killAndRestart(): Promise<void>;
}

/** `of / to`, by paths' keys: the numbers to look at first. */
export interface Ratio {
  readonly of: string;
  readonly to: string;
}

/** A world that is up: its paths answer. */
export interface Setup {
  readonly paths: readonly Path[];
  readonly ratios: readonly Ratio[];
  /** Of programs beside workerd, Node and the load generator. */
  readonly versions: Readonly<Record<string, string>>;
  readonly stop: () => Promise<void>;
}

export interface Scenario {
  /** `relay-bulk` runs when `relay` is asked for, too. */
  readonly name: string;
  readonly title: string;
  readonly measurement: Measurement;
  /** Rejects with a CliError when something that it needs is missing or does not come up; leaves nothing running then. Paths that are not wanted may be left out. */
  start(folder: string, isWanted: (pathKey: string) => boolean): Promise<Setup>;
}

/** What one slot measured: column key → value, null where it could not be had. */
export type Sample = Readonly<Record<string, number | null>>;

export interface Column {
  /** Key in samples; also in the JSON report. */
  readonly key: string;
  readonly title: string;
  readonly digits: number;
  /** How repeats become one number. Failures are summed: the middle one would hide them. */
  readonly over: "median" | "sum";
}

/** One kind of measuring (requests now; bulk, events, memory later): the variants of a slot, how one is run, what it fills in. */
export interface Measurement {
  readonly name: string;
  readonly columns: readonly Column[];
  /** Keys of the columns of which ratios are taken; the first is also what progress shows. */
  readonly ratioColumns: readonly [string, ...string[]];
  /** The variants of a path, for example by number of connections. */
  variants(settings: Settings): readonly Variant[];
  run(path: Path, variant: Variant, seconds: number): Promise<Sample>;
  /** Before anything is counted: just-in-time compilers and connection pools settle. Default: the last variant for some seconds. */
  warmUp?(path: Path, seconds: number): Promise<unknown>;
}

export interface Variant {
  /** "64 connections": unique within a measurement. */
  readonly title: string;
  readonly connections: number;
}

/** What a run is asked to do. */
export interface Settings {
  readonly repeats: number;
  readonly secondsPerSlot: number;
  readonly connections: readonly number[];
  /** Keys of the paths to measure; null: all. */
  readonly paths: readonly string[] | null;
}
