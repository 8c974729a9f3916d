import { z } from "@hono/zod-openapi";
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from "./limits.ts";

/** Query of every list. The cursor is opaque to clients: the sort key of the last item before the page. */
export const pageQuery = z.object({
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(MAX_PAGE_SIZE)
    .default(DEFAULT_PAGE_SIZE)
    .openapi({ description: `Items a page, at most ${MAX_PAGE_SIZE}` }),
  cursor: z
    .string()
    .max(512)
    .transform((text, context) => {
      const parsed = decodeCursor(text);
      if (parsed === null) context.addIssue({ code: "custom", message: "not a cursor of this list" });
      return parsed ?? [];
    })
    .optional()
    .openapi({ type: "string", description: "`nextCursor` of the page before" }),
  q: z.string().max(100).optional().openapi({ description: "Only items whose name has this text" }),
});

export const page = <T extends z.ZodType>(item: T) =>
  z.object({ items: z.array(item), nextCursor: z.string().nullable() });

export const encodeCursor = (sortKey: readonly string[]): string =>
  btoa(encodeURIComponent(JSON.stringify(sortKey)))
    .replaceAll("=", "")
    .replaceAll("+", "-")
    .replaceAll("/", "_");

function decodeCursor(text: string): string[] | null {
  try {
    const parsed: unknown = JSON.parse(decodeURIComponent(atob(text.replaceAll("-", "+").replaceAll("_", "/"))));
    return z.array(z.string()).max(2).parse(parsed);
  } catch {
    return null;
  }
}

/** The sequence number in a cursor of a list by time, newest first. One that no row can have (PostgreSQL would refuse it) is followed by none. */
export function sequenceOf(cursor: readonly string[]): number {
  const sequence = Number(cursor[0]);
  return Number.isSafeInteger(sequence) ? sequence : 0;
}

/** `rows` were asked for with one more than `limit`: that one shows whether there is a next page. */
export function paged<Row, Item>(
  rows: readonly Row[],
  limit: number,
  view: (row: Row) => Item,
  sortKey: (row: Row) => readonly string[],
): { items: Item[]; nextCursor: string | null } {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return {
    items: shown.map(view),
    nextCursor: rows.length > limit && last !== undefined ? encodeCursor(sortKey(last)) : null,
  };
}
