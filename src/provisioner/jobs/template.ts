/** What of an item can stand in path, URL and body of its call. */
export interface ItemValues {
  /** The job's cursor, ISO 8601; "" at its first run. */
  readonly since: string;
  /** When the run began: the cursor of the next one. */
  readonly until: string;
  /** What the item before said to ask for; "" at the first. */
  readonly page: string;
  readonly run: string;
  /** From 1. */
  readonly item: string;
}

const PLACE = /\{(since|until|page|run|item)\}/g;

/** Values are encoded for a URL, so that they can't add a parameter. */
export const fillAddress = (text: string, values: ItemValues): string =>
  text.replace(PLACE, (_, name: keyof ItemValues) => encodeURIComponent(values[name]));

/** Values are escaped as in a JSON string. */
export const fillBody = (text: string, values: ItemValues): string =>
  text.replace(PLACE, (_, name: keyof ItemValues) => JSON.stringify(values[name]).slice(1, -1));
