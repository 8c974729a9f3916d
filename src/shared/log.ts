/** One JSON object a line. Never put headers, bodies, tokens or keys into `fields`. */
export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;
export interface Logger {
  debug(msg: string, fields?: LogFields): void;
  info(msg: string, fields?: LogFields): void;
  warn(msg: string, fields?: LogFields): void;
  error(msg: string, fields?: LogFields): void;
  /** A logger that adds `fields` to every line. */
  with(fields: LogFields): Logger;
}

const RANK: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

/** `write` gets one line without its line end. `part` names the process or Worker. Default minimum level: info. */
export function createLogger(
  part: string,
  write: (line: string) => void,
  options: { level?: LogLevel; now?: () => number; fields?: LogFields } = {},
): Logger {
  const { level: minimum = "info", now = () => Date.now(), fields: base = {} } = options;
  const at = (level: LogLevel) => (msg: string, fields?: LogFields) => {
    if (RANK[level] < RANK[minimum]) return;
    write(JSON.stringify({ time: new Date(now()).toISOString(), level, part, msg, ...base, ...fields }));
  };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    with: (fields) => createLogger(part, write, { ...options, fields: { ...base, ...fields } }),
  };
}
