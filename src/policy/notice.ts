import { z } from "zod";
import { maintenanceNotice, WHOLE_PLATFORM, type DirectoryRecord, type MaintenanceNotice } from "./record.ts";

/** Notices that a directory object was told, by their scope; also those that are over, whose revision tells so. */
export type Notices = ReadonlyMap<string, MaintenanceNotice>;

const copiedNotices = z.array(maintenanceNotice);

/** Of a directory object's copy in KV; none where there is no copy, or one that is nonsense. */
export function readNotices(copy: unknown): Notices {
  const parsed = copiedNotices.safeParse(copy);
  return new Map((parsed.success ? parsed.data : []).map((notice) => [notice.scope, notice]));
}

/** What carries the platform's notice to who has no tenant. */
const NOBODY: DirectoryRecord = {
  host: WHOLE_PLATFORM,
  tenantId: "",
  slug: "",
  cluster: WHOLE_PLATFORM,
  state: "active",
  node: null,
  routes: [],
  accessRevision: 0,
  notBefore: {},
  revision: 0,
};

/** For a host that no tenant has: a record of nobody with the platform's notice, or null when there is none. */
export function recordOfNobody(host: string, notices: Notices): DirectoryRecord | null {
  const platform = notices.get(WHOLE_PLATFORM);
  if (!platform?.maintenance) return null;
  return withNotice({ ...NOBODY, host, revision: platform.revision }, notices);
}

/** The record with the notice that holds for it: the platform's goes before its cluster's. */
export function withNotice(record: DirectoryRecord, notices: Notices): DirectoryRecord {
  const platform = notices.get(WHOLE_PLATFORM);
  const cluster = notices.get(record.cluster);
  const noticeRevision = Math.max(platform?.revision ?? 0, cluster?.revision ?? 0);
  if (noticeRevision === 0) return record;
  const notice = platform?.maintenance ?? cluster?.maintenance;
  return { ...record, noticeRevision, ...(notice && { notice }) };
}

/** `record` with the notice, or the end of one, of whichever of both was told of the later one. */
export function withLaterNotice(record: DirectoryRecord, other: DirectoryRecord): DirectoryRecord {
  if ((record.noticeRevision ?? 0) >= (other.noticeRevision ?? 0)) return record;
  const { notice: _earlier, ...rest } = record;
  return { ...rest, noticeRevision: other.noticeRevision, ...(other.notice && { notice: other.notice }) };
}
