import { readNotices, recordOfNobody, withLaterNotice, withNotice } from "../policy/notice.ts";
import { directoryRecord, directoryShard, type DirectoryRecord } from "../policy/record.ts";
import type { Clock } from "../shared/clock.ts";
import { err, ok, type Result } from "../shared/result.ts";
import { createLru } from "./lru.ts";
import { createSingleFlight } from "./single-flight.ts";
import type { Soon } from "./soon.ts";
import { within, type Timer } from "./timer.ts";

/**
 * Host → record, through a cache of this isolate. An active record is fresh for a while and then served a little longer while it is
 * refreshed behind the request; anything else is fresh for a second. While the directory can't be reached (or answers nonsense) the last
 * known record goes on for the outage limit, after that there is no answer: never a guess.
 */
export type Lookup =
  | { readonly kind: "record"; readonly record: DirectoryRecord; readonly source: "cache" | "directory" | "outage" }
  | { readonly kind: "unknown" }
  | { readonly kind: "unavailable" };

export interface DirectoryCachePorts {
  /** Asks the authority. Null: no tenant has the host. Rejects when it can't be reached. What it answers is not trusted to be a record. */
  readonly ask: (host: string) => Promise<unknown>;
  /** Reads the copy for outages. Null: there is none. */
  readonly readCopy: (host: string) => Promise<unknown>;
  /** Reads the copy of the notices that a shard was told. Null: there is none. */
  readonly readNotices: (shard: string) => Promise<unknown>;
  readonly now: Clock;
  readonly timer: Timer;
  /** Told once when lookups of a shard begin to fail, and once when they work again. */
  readonly onOutage: (shard: string, state: "begin" | "end") => void;
}

export interface DirectoryCacheLimits {
  readonly activeFreshMs: number;
  readonly activeServedMs: number;
  readonly otherFreshMs: number;
  readonly lookupTimeoutMs: number;
  readonly sharedLookupMs: number;
  readonly failureQuietMs: number;
  readonly failureServedMs: number;
  readonly outageMs: number;
  readonly cachedRecords: number;
  readonly cachedRecordCharacters: number;
  readonly cachedMisses: number;
}

interface Entry {
  readonly record: DirectoryRecord | null;
  /** Length of the record as JSON. */
  readonly characters: number;
  /** When the authority said so; null for a record that is only known from the copy. */
  readonly confirmedAtMs: number | null;
  /** When asking again failed, if it did since. */
  readonly failedAtMs: number | null;
}

type WaitUntil = (work: Promise<unknown>) => void;
export interface DirectoryCache {
  /** At once where the isolate knows the host. `waitUntil` keeps the isolate at work behind the request. Never rejects. */
  find(host: string, waitUntil: WaitUntil): Soon<Lookup>;
}

export function createDirectoryCache(ports: DirectoryCachePorts, limits: DirectoryCacheLimits): DirectoryCache {
  const records = createLru<Entry>(limits.cachedRecords, {
    max: limits.cachedRecordCharacters,
    of: ({ characters }) => characters,
  });
  const misses = createLru<Entry>(limits.cachedMisses);
  const lookups = createSingleFlight<Result<Entry, "failed">>(ports, {
    trustedMs: limits.sharedLookupMs,
    lostMs: 2 * limits.lookupTimeoutMs,
    maxKeys: limits.cachedMisses,
  });
  /** Shard → when its first lookup failed since one worked. */
  const outages = new Map<string, number>();

  const stored = (host: string): Entry | undefined => records.get(host) ?? misses.get(host);

  function store(host: string, entry: Entry): void {
    (entry.record === null ? records : misses).delete(host);
    (entry.record === null ? misses : records).set(host, entry);
  }

  async function askOnce(host: string): Promise<Result<Entry, "failed">> {
    const shard = directoryShard(host);
    let answer: Result<DirectoryRecord | null, "failed">;
    try {
      answer = parseRecord(host, await within(ports.timer, limits.lookupTimeoutMs, ports.ask(host)));
    } catch {
      answer = err("failed");
    }
    if (answer.ok) {
      if (outages.delete(shard)) ports.onOutage(shard, "end");
      const entry = entryOf(answer.value, ports.now());
      store(host, entry);
      return ok(entry);
    }
    if (!outages.has(shard)) {
      outages.set(shard, ports.now());
      ports.onOutage(shard, "begin");
    }
    const lastKnown = newer(stored(host), await copyOf(host));
    if (lastKnown !== undefined) store(host, { ...lastKnown, failedAtMs: ports.now() });
    return answer;
  }

  async function copyOf(host: string): Promise<Entry | undefined> {
    try {
      const reading = Promise.all([ports.readCopy(host), ports.readNotices(directoryShard(host)).catch(() => null)]);
      const [copied, copiedNotices] = await within(ports.timer, limits.lookupTimeoutMs, reading);
      const copy = parseRecord(host, copied);
      if (!copy.ok) return undefined;
      const notices = readNotices(copiedNotices);
      const record = copy.value === null ? recordOfNobody(host, notices) : withNotice(copy.value, notices);
      return record === null ? undefined : entryOf(record, null);
    } catch {
      return undefined;
    }
  }

  /** One lookup a host at a time, whoever asks. */
  const askShared = (host: string, waitUntil: WaitUntil): Promise<Result<Entry, "failed">> =>
    lookups.run(host, () => askOnce(host), waitUntil);

  function refreshBehind(host: string, waitUntil: WaitUntil): void {
    if (!lookups.isUnderWay(host)) waitUntil(askShared(host, waitUntil));
  }

  /** Whether an entry may still be served though the authority does not confirm it. */
  function usableInOutage(host: string, entry: Entry): boolean {
    const sinceMs = entry.confirmedAtMs ?? outages.get(directoryShard(host)) ?? ports.now();
    return entry.record !== null && ports.now() - sinceMs <= limits.outageMs;
  }

  function outageAnswer(host: string): Lookup {
    const entry = stored(host);
    if (entry === undefined || entry.record === null || !usableInOutage(host, entry)) return { kind: "unavailable" };
    return { kind: "record", record: entry.record, source: "outage" };
  }

  async function askFor(host: string, waitUntil: WaitUntil): Promise<Lookup> {
    const asked = await askShared(host, waitUntil);
    return asked.ok ? answerOf(asked.value, "directory") : outageAnswer(host);
  }

  return {
    find(host, waitUntil) {
      const entry = stored(host);
      if (entry !== undefined) {
        const nowMs = ports.now();
        const ageMs = entry.confirmedAtMs === null ? Infinity : nowMs - entry.confirmedAtMs;
        const isActive = entry.record?.state === "active";
        if (ageMs < (isActive ? limits.activeFreshMs : limits.otherFreshMs)) return answerOf(entry, "cache");
        const failedForMs = entry.failedAtMs === null ? Infinity : nowMs - entry.failedAtMs;
        const quiet = failedForMs < limits.failureQuietMs;
        if (isActive && ageMs < limits.activeServedMs) {
          if (!quiet) refreshBehind(host, waitUntil);
          return answerOf(entry, "cache");
        }
        if (failedForMs < limits.failureServedMs) {
          if (!quiet) refreshBehind(host, waitUntil);
          return outageAnswer(host);
        }
      }
      return askFor(host, waitUntil);
    },
  };
}

function entryOf(record: DirectoryRecord | null, confirmedAtMs: number | null): Entry {
  return { record, characters: JSON.stringify(record).length, confirmedAtMs, failedAtMs: null };
}

function answerOf(entry: Entry, source: "cache" | "directory"): Lookup {
  return entry.record === null ? { kind: "unknown" } : { kind: "record", record: entry.record, source };
}

function parseRecord(host: string, answer: unknown): Result<DirectoryRecord | null, "failed"> {
  if (answer === null) return ok(null);
  const parsed = directoryRecord.safeParse(answer);
  return parsed.success && parsed.data.host === host ? ok(parsed.data) : err("failed");
}

/**
 * The better one of what was confirmed and the copy. The copy wins unless it is of an earlier revision or another tenant: the
 * directory may have gone away right after a suspension. Maintenance has a revision of its own, and is judged by that.
 */
function newer(confirmed: Entry | undefined, copy: Entry | undefined): Entry | undefined {
  if (copy === undefined) return confirmed;
  if (confirmed === undefined || confirmed.record === null) return copy;
  if (copy.record === null || copy.record.tenantId !== confirmed.record.tenantId) return confirmed;
  return copy.record.revision >= confirmed.record.revision
    ? entryOf(withLaterNotice(copy.record, confirmed.record), null)
    : entryOf(withLaterNotice(confirmed.record, copy.record), confirmed.confirmedAtMs);
}
